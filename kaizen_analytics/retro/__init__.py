"""Retros: from past sessions to what is worth changing, and from there to a patch and an experiment.

    material    what findings are found in: sessions, calls, responses, prompts
    commands    what worked in place of a command, what may be quoted and allowed
    classes     what a class of findings is made of, and one judge for each; their queries are in sql/retro
    findings    collect_evidence, judge_evidence
    patch       a finding's change as a unified diff
    followup    what came of earlier findings; which sessions of an experiment show its own
    proposal    the experiment that would prove a finding
    retro       compute_retro, save_retro
    guidance    what agents are told, and what carrying it costs

Nothing here writes into a repository.
"""

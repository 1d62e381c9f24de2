"""Formats of tokens that vendors made recognisable, as published in their documentation.

Each row is a kind, the lower-case literals (anchors) of which one stands in every such token, and the format. The
literals are found first, all at once; only there is the format tried. A format that does not begin with its anchor
says how far before it a token may start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kaizen_analytics.redact.placeholders import Category


@dataclass(frozen=True, slots=True)
class TokenFormat:
    """One recognisable format: where its anchor stands and what the whole token looks like."""

    kind: str
    anchors: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    before: int = 0
    left: bytes = b""
    category: Category = Category.TOKEN

    @property
    def is_edged(self) -> bool:
        """Whether no token of this format begins behind a letter or digit, so that such an anchor can be passed."""
        return self.pattern.pattern.startswith(_EDGE.encode())


_EDGE = r"(?<![A-Za-z0-9])"


def _format(
    kind: str,
    anchors: str,
    pattern: str,
    *,
    before: int = 0,
    left: bytes = b"",
    edge: bool = True,
    category: Category = Category.TOKEN,
) -> TokenFormat:
    start = _EDGE if edge and not before else ""
    compiled = re.compile((start + pattern).encode("ascii"))
    return TokenFormat(kind, tuple(anchor.encode() for anchor in anchors.split()), compiled, before, left, category)


def _prefixed(kind: str, prefixes: str, tail: str) -> TokenFormat:
    """Describe tokens that begin with one of some literals and go on with `tail`."""
    words = prefixes.split()
    start = "(?:" + "|".join(re.escape(word) for word in words) + ")"
    return _format(kind, " ".join(word.lower() for word in words), start + tail)


_CLOUD = (
    _format(
        "aws-access-key-id",
        "akia asia abia acca aroa aida agpa aipa anpa anva",
        r"(?:A[KS]IA|ABIA|ACCA|AROA|AIDA|AGPA|AIPA|ANPA|ANVA)[A-Z0-9]{16}",
    ),
    _format("aws-legacy-access-key-id", "a3t", r"A3T[A-Z0-9]{17}(?![A-Za-z0-9])"),
    _prefixed("aws-bedrock-key", "ABSK", r"[A-Za-z0-9+/]{60,}={0,2}"),
    _prefixed("aws-bedrock-short-key", "bedrock-api-key-", r"[A-Za-z0-9+/=]{20,}"),
    _prefixed("aws-session-token", "FwoGZXIvYXdz IQoJb3JpZ2lu FQoGZXIvYXdz", r"[A-Za-z0-9+/=_-]{60,}"),
    _prefixed("aws-mws", "amzn.mws.", r"[\w-]{30,}"),
    _prefixed("amazon-oauth", "amzn1.application-oa2-client. amzn1.oa2-cs.v1.", r"[a-f0-9]{32,}"),
    _prefixed("gcp-api-key", "AIza", r"[\w-]{30,}"),
    _prefixed("gcp-express-key", "AQ.Ab", r"[\w-]{30,}"),
    _prefixed("gcp-oauth-secret", "GOCSPX-", r"[\w-]{20,}"),
    _prefixed("gcp-access-token", "ya29.", r"[\w.-]{20,}"),
    _prefixed("gcp-refresh-token", "1//0", r"[\w-]{30,}"),
    _prefixed("gcp-hmac-access-id", "GOOG1E GOOG", r"[A-Z0-9]{20,61}(?![A-Za-z0-9])"),
    _format("azure-client-secret", "q~", r"(?<![\w.~-])[\w~.-]{3}\dQ~[\w~.-]{31,34}(?![\w~])", before=4),
    _prefixed("alibaba-access-key-id", "LTAI", r"[A-Za-z0-9]{12,24}(?![A-Za-z0-9])"),
    _prefixed("tencent-secret-id", "AKID", r"[A-Za-z0-9]{28,40}(?![A-Za-z0-9])"),
    _prefixed("digitalocean", "dop_v1_ doo_v1_ dor_v1_", r"[a-f0-9]{40,}"),
    _prefixed("digitalocean-spaces", "DO00", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _prefixed("scaleway-access-key", "SCW", r"[A-Z0-9]{17}(?![A-Za-z0-9])"),
    _prefixed("heroku", "HRKU-", r"[\w-]{30,}"),
    _prefixed("fly-io", "fo1_ fm1r_ fm1a_ fm2_", r"[\w+/=,-]{30,}"),
    _format("fly-io-macaroon", "flyv1", r"FlyV1 (?:[\w+/=-]{20,2000},?){1,8}"),
    _prefixed("netlify", "nfp_ nfc_ nfo_ nfb_ nfu_", r"[A-Za-z0-9]{30,}"),
    _prefixed("vercel", "vcp_ vci_ vca_ vcr_ vck_ vercel_blob_rw_", r"[\w-]{20,}"),
    _prefixed("render", "rnd_", r"[A-Za-z0-9]{20,}"),
    _prefixed("cloudflare-origin-ca", "v1.0-", r"[a-f0-9]{20,}-[a-f0-9]{60,}"),
    _prefixed("cloudflare-token", "cfut_ cfat_ cfk_", r"[\w-]{30,}"),
    _prefixed("databricks", "dapi dkea dose", r"[a-f0-9]{30,}(?:-\d)?"),
    _prefixed("hashicorp-vault", "hvs. hvb. hvr.", r"[\w-]{20,}"),
    _format("hashicorp-terraform", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{40,}", before=14),
    _prefixed("supabase", "sbp_ sb_secret_ sbp_v0_ sb_publishable_", r"[\w-]{20,}"),
    _prefixed("neon", "napi_", r"[a-z0-9]{40,}"),
    _prefixed("planetscale", "pscale_pw_ pscale_tkn_ pscale_oauth_", r"[\w=.-]{20,}"),
    _prefixed("mongodb-atlas", "mdb_sa_sk_ mdb_sa_id_", r"[\w-]{20,}"),
    _prefixed("aiven", "AVNS_", r"[\w-]{16,}"),
    _prefixed("openshift", "sha256~", r"[\w-]{40,}"),
    _prefixed("datastax", "AstraCS:", r"[\w:-]{20,}"),
    _prefixed("cockroach", "CCDB1_", r"[\w-]{20,}"),
    _prefixed("tailscale", "tskey-", r"[\w-]{20,}"),
    _prefixed("pulumi", "pul-", r"[a-f0-9]{40}"),
    _prefixed("infracost", "ico-", r"[A-Za-z0-9]{32}"),
    _prefixed("scalingo", "tk-us- tk-eu-", r"[\w-]{40,}"),
    _prefixed("yandex", "AQVN AQAAA t1.9eu y0_", r"[\w=.-]{30,}"),
    _prefixed("civo-or-upcloud", "ucat_", r"[A-Z0-9]{20,}"),
    _prefixed("clickhouse", "4b1d", r"[A-Za-z0-9]{38}(?![A-Za-z0-9])"),
    _prefixed("docker-swarm", "SWMTKN-1- SWMKEY-1-", r"[\w+/-]{30,}"),
)

_CODE_HOSTS = (
    _prefixed("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9_.-]{16,}"),
    _prefixed("github-fine-grained", "github_pat_", r"\w{20,}"),
    _prefixed(
        "gitlab-token",
        "glpat- glptt- glrt- glrtr- gldt- glft- glimt- glagent- gloas- glsoat- glcbt- glffct- glwt-",
        r"[\w.-]{16,}",
    ),
    _prefixed("gitlab-runner-registration", "GR1348941", r"[\w-]{20}"),
    _prefixed("gitlab-session", "_gitlab_session=", r"[0-9a-z]{16,}"),
    _prefixed("bitbucket-app-password", "ATBB", r"[A-Za-z0-9=_]{24,}"),
    _prefixed("atlassian", "ATATT3 ATCTT3 ATOATT", r"[\w=.-]{30,}"),
    _prefixed("trello", "ATTA", r"[A-Fa-f0-9]{60,}"),
    _prefixed("npm", "npm_", r"[A-Za-z0-9]{30,}"),
    _prefixed("pypi", "pypi-", r"[\w-]{40,}"),
    _prefixed("rubygems", "rubygems_", r"[a-f0-9]{40,}"),
    _prefixed("crates-io", "cio", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])"),
    _prefixed("clojars", "CLOJARS_", r"[a-zA-Z0-9]{50,}"),
    _prefixed("nuget", "oy2", r"[a-z0-9]{43}(?![A-Za-z0-9])"),
    _prefixed("jfrog-api-key", "AKCp", r"[A-Za-z0-9]{40,}"),
    _prefixed("jfrog-reference-token", "cmVmd", r"[A-Za-z0-9]{40,}"),
    _prefixed("docker-hub", "dckr_pat_ dckr_oat_", r"[\w-]{20,}"),
    _prefixed("circleci", "CCIPAT_ CCIPRJ_", r"[\w-]{20,}"),
    _prefixed("buildkite", "bkua_ bkaj_ bkct_ bkpt_", r"[\w-]{30,}"),
    _prefixed("sonarqube", "squ_ sqp_ sqa_", r"[a-f0-9]{40}"),
    _prefixed("sourcegraph", "sgp_ sgd_ slk_", r"[A-Za-z0-9_]{30,}"),
    _format("harness", "pat. sat.", r"(?:pat|sat)\.[\w-]{20,}\.[0-9a-f]{20,}\.[A-Za-z0-9]{16,}"),
    _format("octopus", "api-", r"API-[A-Z0-9]{25,26}(?![A-Za-z0-9])"),
    _prefixed("artifact-hub-prefect", "pnu_ pnb_", r"[A-Za-z0-9]{30,}"),
    _prefixed("snyk", "snyk_uat. snyk_sat.", r"[\w.-]{20,}"),
    _prefixed("endor-labs", "endr+", r"[\w-]{16}"),
    _prefixed("cursor", "crsr_", r"[A-Za-z0-9]{30,}"),
)

_MESSAGING = (
    _format("slack-token", "xoxa xoxb xoxc xoxd xoxe xoxo xoxp xoxr xoxs", r"xox[a-eoprs][.-][\w.%+/=-]{8,}"),
    _prefixed("slack-app-token", "xapp- xwfp-", r"[\w-]{16,}"),
    _format(
        "slack-webhook",
        "hooks.slack.com",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w+/-]{20,}",
        edge=False,
    ),
    _format("discord-webhook", "/api/webhooks/", r"/api/webhooks/\d{10,}/[\w-]{30,}", edge=False),
    _prefixed("discord-mfa-token", "mfa.", r"[\w-]{50,}"),
    _format("teams-webhook", ".webhook.office.com", r"\.webhook\.office\.com/webhookb2/[\w@/-]{40,}", edge=False),
    _format(
        "teams-connector",
        "outlook.office.com/webhook/ outlook.office365.com/webhook/",
        r"(?i)outlook\.office(?:365)?\.com/webhook/[\w@/-]{40,}",
        edge=False,
    ),
    _prefixed("instagram", "IGQV IGQW IGAA", r"[\w-]{60,}"),
    _format(
        "teams-workflow",
        "powerplatform.com",
        r"powerplatform\.com[\w:/.-]{10,200}\?[^\s\"'<>]{0,200}sig=[\w%-]{20,}",
        edge=False,
    ),
    _format("zapier-webhook", "hooks.zapier.com", r"hooks\.zapier\.com/hooks/catch/[\w/]{10,}", edge=False),
    _format("telegram-bot", ":aa", r"(?<!\d)\d{7,11}:AA[\w-]{30,}", before=12, left=b"0123456789"),
    _prefixed("sendgrid", "SG.", r"[\w=-]{16,}\.[\w=-]{16,}"),
    _prefixed("brevo", "xkeysib- xsmtpsib-", r"[\w-]{40,}"),
    _prefixed("mailersend", "mlsn.", r"[A-Za-z0-9]{30,}"),
    _prefixed("mailgun", "key-", r"[0-9a-f]{32}(?![0-9a-zA-Z])"),
    _prefixed("mailgun-public", "pubkey-", r"[0-9a-f]{32}(?![0-9a-zA-Z])"),
    _format("mailchimp", "-us", r"(?<![0-9A-Za-z])[0-9a-f]{32}-us\d{1,2}(?!\w)", before=32),
    _prefixed("resend", "re_", r"[A-Za-z0-9]{6,10}_[A-Za-z0-9]{20,}"),
    _prefixed("intercom", "dG9rO", r"[A-Za-z0-9+/]{40,}={0,2}"),
    _prefixed("courier", "pk_prod_ dk_prod_", r"[A-Z0-9]{20,}"),
    _prefixed(
        "facebook",
        "EAACEdEose0cBA EAAA EAAB EAAC EAAD EAAF EAAG EAAH EAAI EAAJ EAAL EAAM EAAO EAAP EAAQ EAAR EAAS EAAW",
        r"[\w-]{40,}",
    ),
)

_PAYMENTS = (
    _prefixed(
        "stripe",
        "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_ pk_live_ pk_test_ pk_prod_",
        r"[A-Za-z0-9_]{10,}",
    ),
    _prefixed("stripe-webhook", "whsec_", r"[A-Za-z0-9+/=]{20,}"),
    _prefixed("square", "EAAA sq0atp- sq0csp- sq0idp-", r"[\w-]{22,}"),
    _prefixed("shopify", "shpat_ shpca_ shppa_ shpss_ shpua_", r"[a-fA-F0-9]{30,}"),
    _prefixed("paypal-braintree", "access_token$production$ access_token$sandbox$", r"[a-z0-9]{16}\$[a-f0-9]{32}"),
    _prefixed("easypost", "EZAK EZTK", r"[A-Za-z0-9]{40,}"),
    _prefixed("shippo", "shippo_live_ shippo_test_", r"[a-f0-9]{30,}"),
    _prefixed("duffel", "duffel_live_ duffel_test_", r"[\w=-]{30,}"),
    _prefixed("flutterwave", "FLWSECK FLWPUBK", r"(?:_TEST)?-[\w-]{12,}"),
    _prefixed("razorpay", "rzp_live_ rzp_test_", r"[A-Za-z0-9]{10,}"),
    _prefixed("plaid", "access-sandbox- access-development- access-production-", r"[a-f0-9-]{36}"),
    _prefixed("gocardless", "live_ sandbox_", r"[\w=-]{38,}"),
    _prefixed("lob", "live_pub_ test_pub_", r"[a-f0-9]{30,}"),
    _prefixed("ramp", "ramp_sec_ ramp_id_", r"[A-Za-z0-9]{30,}"),
    _prefixed("asaas", "$aact_", r"[\w$:=+/-]{20,}"),
    _prefixed("midtrans", "SB-Mid-server- Mid-server-", r"[\w-]{16,}"),
    _prefixed("mercado-pago", "APP_USR-", r"[\w-]{30,}"),
    _prefixed("polar", "polar_oat_ polar_pat_ polar_at_", r"[\w-]{20,}"),
    _prefixed("paddle", "pdl_live_ pdl_sdbx_ pdl_ntfset_", r"[\w+/-]{20,}"),
    _prefixed("lemon-or-helcim", "hcm_", r"[\w-]{30,}"),
    _format("ebay", "-prd-", r"-PRD-[a-f0-9]{8,12}-[a-f0-9]{8,12}", edge=False),
)

_MODELS = (
    _format("model-vendor-key", "sk-", r"sk-(?=[A-Za-z0-9_-]{0,40}[0-9A-Z])[A-Za-z0-9_-]{16,}"),
    _prefixed("langfuse-key", "pk-lf-", r"[a-f0-9-]{36}"),
    _prefixed("huggingface", "hf_ api_org_", r"[A-Za-z0-9]{30,}"),
    _prefixed("groq", "gsk_", r"[A-Za-z0-9]{30,}"),
    _prefixed("xai", "xai-", r"[\w-]{40,}"),
    _prefixed("perplexity", "pplx-", r"[\w-]{30,}"),
    _prefixed("replicate", "r8_", r"[A-Za-z0-9]{30,}"),
    _prefixed("cerebras", "csk-", r"[a-z0-9]{40,}"),
    _prefixed("nvidia", "nvapi-", r"[\w-]{40,}"),
    _prefixed("voyage", "pa-", r"[\w-]{40,}"),
    _prefixed("jina", "jina_", r"[\w-]{40,}"),
    _prefixed("llamaindex", "llx-", r"[\w-]{40,}"),
    _prefixed("together", "tgp_v1_", r"[\w-]{30,}"),
    _prefixed("fireworks", "fw_", r"[A-Za-z0-9]{22,}(?![A-Za-z0-9_])"),
    _prefixed("anyscale", "esecret_", r"[\w-]{20,}"),
    _prefixed("langsmith", "lsv2_pt_ lsv2_sk_", r"[\w-]{30,}"),
    _prefixed("weights-and-biases", "wandb_v1_", r"\w{40,}"),
    _prefixed("pinecone", "pcsk_", r"[\w-]{30,}"),
    _prefixed("tavily", "tvly-", r"[\w-]{20,}"),
    _prefixed("firecrawl", "fc-", r"[a-f0-9]{32}(?![A-Za-z0-9])"),
    _prefixed("e2b", "e2b_", r"[a-f0-9]{40}"),
    _prefixed("browserbase", "bb_live_ bb_test_", r"[\w-]{20,}"),
    _prefixed("elevenlabs", "sk_", r"[a-f0-9]{40,}(?![A-Za-z0-9])"),
    _prefixed("friendli", "flp_", r"[A-Za-z0-9]{40,}"),
    _prefixed("composio", "ak_", r"[\w-]{20,}(?![A-Za-z0-9])"),
)

_OBSERVABILITY = (
    _prefixed("grafana", "glsa_ glc_", r"[\w+/=]{30,}"),
    _prefixed("grafana-legacy", "eyJrIjoi", r"[\w+/=-]{30,}"),
    _prefixed("newrelic", "NRAK- NRJS- NRII- NRRA- NRAL- NRIQ- NRSP-", r"[\w-]{18,}"),
    _prefixed("sentry", "sntrys_ sntryu_ sntrya_ sntryi_", r"[\w+/=]{30,}"),
    _prefixed("dynatrace", "dt0c01. dt0s01. dt0s02. dt0s03. dt0s16.", r"[A-Z0-9a-z-]{8,}\.[A-Za-z0-9]{40,}"),
    _prefixed("posthog", "phc_ phx_ phs_", r"[A-Za-z0-9]{30,}"),
    _prefixed("honeycomb", "hcaik_ hcbik_ hcamk_", r"[a-z0-9]{30,}"),
    _prefixed("logfire", "pylf_v1_", r"[\w-]{20,}"),
    _prefixed("launchdarkly", "sdk- mob- api-", r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"),
    _prefixed("statuspage-checkly", "cu_", r"[a-f0-9]{32}(?![A-Za-z0-9])"),
    _prefixed("unkey", "unkey_", r"[\w-]{20,}"),
)

_BUSINESS = (
    _prefixed("linear", "lin_api_ lin_oauth_", r"[A-Za-z0-9]{30,}"),
    _prefixed("notion", "ntn_", r"[A-Za-z0-9]{30,}"),
    _prefixed("notion-legacy", "secret_", r"[A-Za-z0-9]{43}(?![A-Za-z0-9])"),
    _prefixed("postman", "PMAK- PMAT-", r"[\w-]{24,}"),
    _prefixed("doppler", "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", r"[\w.-]{30,}"),
    _prefixed("1password-service", "ops_eyJ", r"[\w+/=-]{60,}"),
    _format("1password-secret-key", "a3-", r"A3-[A-Z0-9]{6}-[A-Z0-9-]{20,}"),
    _prefixed("age-secret-key", "AGE-SECRET-KEY-", r"[0-9A-Z-]{40,}"),
    _prefixed("figma", "figd_ figo_ figu_ figr_ figor_ figur_ figoh_ figuh_", r"[\w-]{30,}"),
    _prefixed("contentful", "CFPAT-", r"[\w-]{40,}"),
    _prefixed("typeform", "tfp_", r"[\w.=-]{40,}"),
    _prefixed("hubspot", "pat-na1- pat-na2- pat-eu1- pat-na3-", r"[a-fA-F0-9-]{36}"),
    _prefixed("salesforce-refresh", "5Aep861", r"[\w.]{40,}"),
    _prefixed("zoho", "1000.", r"[a-f0-9]{32}\.[a-f0-9]{32}"),
    _prefixed("dropbox", "sl.u. sl.B sl.A sl.", r"[\w-]{100,}"),
    _prefixed("adobe", "p8e-", r"[A-Za-z0-9]{32}"),
    _prefixed("readme", "rdme_", r"[a-z0-9]{60,}"),
    _prefixed("wakatime", "waka_", r"[a-f0-9-]{36}"),
    _prefixed("frame-io", "fio-u-", r"[\w=-]{30,}"),
    _prefixed("settlemint", "sm_aat_ sm_pat_ sm_sat_", r"[A-Za-z0-9]{16}"),
    _prefixed("apify", "apify_api_", r"[A-Za-z0-9]{30,}"),
    _prefixed("ngrok", "cr_ ak_ ngrok_", r"2[A-Za-z0-9]{26,}(?:_[A-Za-z0-9]{20,})?"),
    _prefixed("persona", "persona_production_ persona_sandbox_", r"[\w-]{30,}"),
    _prefixed("calcom", "cal_live_ cal_test_", r"[a-f0-9]{30,}"),
    _prefixed("rootly", "rootly_", r"[a-f0-9]{40,}"),
    _format("nexmo-sid", "s-s4t2", r"s-s4t2(?:ud|af)-[A-Fa-f0-9]{40,}"),
    _format("cloudinary-url", "cloudinary://", r"cloudinary://\d{10,20}:[\w-]{20,}@[\w-]+", edge=False),
)

TAILS: tuple[TokenFormat, ...] = (
    # Formats whose start is too ordinary to search for; they are tried where a long run of letters and digits
    # begins right behind one of the bytes in their anchor.
    _format("facebook-app", "|", r"(?<![\w|])\d{15,16}\|[\w-]{27,40}(?![\w|])", before=17),
    _format("salesforce", "!", r"(?<![A-Za-z0-9])00[A-Za-z0-9]{13}![\w.]{40,}", before=16),
    _format("airtable", ".", r"(?<![A-Za-z0-9])pat[A-Za-z0-9]{14}\.[a-f0-9]{40,}", before=18),
    _format("asana", ":", r"(?<![\w/.-])[0-2]/\d{10,}(?:/\d{10,})?:[0-9a-f]{32}(?!\w)", before=44),
    _format("infisical", ".", r"(?<!\w)st\.[a-f0-9][\w-]{7,40}\.[a-f0-9]{20,}\.[a-f0-9]{20,}", before=80),
    _format("vault-legacy", ".", r"(?<![\w.])s\.(?=[A-Za-z]*\d[A-Za-z]*\d)[A-Za-z0-9]{24}(?![A-Za-z0-9.(])", before=2),
    _format("microsoft-bot-or-firebase", ":", r"(?<![\w-])[\w-]{11,22}:APA91b[\w-]{100,}", before=23),
    _format("facebook-iap", ":", r"(?<![\w-])\d{8,10}:[A-Za-z][\w-]{34}(?![\w-])", before=11),
)
"""Formats that are found from their long tail."""

WHOLES: tuple[TokenFormat, ...] = (
    # Formats that are told by their length and by marks near their end; tried on whole runs.
    _format(
        "azure-signed-key",
        "",
        r"[A-Za-z0-9+/_-]{20,80}(?:AzFu|AzSe|AzCa|ACDb|\+A(?:St|CR|Eh|IoT|Rm|Bat|Ml|Sb)|AIoT|APIM)"
        r"[A-Za-z0-9+/_-]{4,12}={0,2}",
    ),
    _format("azure-common-key", "", r"[A-Za-z0-9]{40,60}JQQJ9[9A-D][A-Za-z0-9]{8,40}={0,2}"),
    _format("azure-devops-pat", "", r"[A-Za-z0-9]{60,80}AZDO[A-Za-z0-9]{4}"),
    _format("newrelic-license", "", r"[a-f0-9]{30,36}(?:FF)?NRAL"),
    _format("maxmind", "", r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk"),
    _format("twilio", "", r"(?:SK|AC)[0-9a-f]{32}"),
    _format("nats-seed", "", r"S[ACNOUX][A-Z2-7]{56}"),
    _format("twitter-bearer", "", r"A{20,24}[A-Za-z0-9%]{80,100}"),
)
"""Formats that fill a whole run of letters, digits, `+`, `/`, `_` and `-`, with `=` at its end."""

_GENERAL = (
    _prefixed(
        "private-key-body",
        "MIIEvQIBADAN MIIEvgIBADAN MIIEvAIBADAN MIIJQgIBADAN MIIJQwIBADAN MIICdgIBADAN MIICdwIBADAN MIIEpAIBAAK"
        " MIIEowIBAAK MIIEogIBAAK MIIEpQIBAAK MIIJKAIBAAK MIIJKQIBAAK MIIJKgIBAAK MIICXAIBAAK MIICXQIBAAK MIICWwIBAAK"
        " MHcCAQEEI MIGkAgEBBD MIHcAgEBBE MIGHAgEAMBMG MIGHAgEBMBMG MIG2AgEAMBAG MIHuAgEAMBAG MC4CAQAwBQYDK2Vw"
        " b3BlbnNzaC1rZXktdjE",
        r"[A-Za-z0-9+/]{20,}(?:\s{1,8}[A-Za-z0-9+/]{40,}){0,200}(?:\s{1,8}[A-Za-z0-9+/]{1,80}={1,2})?={0,2}",
    ),
    _format(
        "json-web-token",
        "eyj ewog ewok",
        r"(?<![\w+/-])e[yw][A-Za-z0-9][\w+/-]{8,4000}={0,2}\.(?:e[yw])?[\w+/=-]{8,}(?:\.[\w+/=-]{6,}){0,3}",
        category=Category.JWT,
    ),
    _format(
        "json-web-token-encoded",
        "zxlk",
        r"ZXlK[A-Za-z0-9+/=_-]{40,}",
        category=Category.JWT,
    ),
    _format(
        "password-hash",
        "$2a$ $2b$ $2y$ $2x$ $apr1$ $1$ $5$ $6$ $7$ $y$ $argon2 $scrypt$ $pbkdf2",
        r"\$(?:2[abxy]\$\d{1,2}\$[./A-Za-z0-9]{50,53}|(?:apr1|1)\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}"
        r"|[56]\$(?:rounds=\d{1,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}"
        r"|(?:y|7)\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{1,40}\$[./A-Za-z0-9]{40,}"
        r"|(?:argon2(?:id|i|d)|scrypt|pbkdf2[\w-]{0,10})\$[^\s\"'<>]{40,400})",
        edge=False,
        category=Category.HASH,
    ),
    _format(
        "framework-password-hash",
        "pbkdf2_sha pbkdf2:sha scrypt:32768 {ssha} {ssha512} {ssha256} {crypt}",
        r"(?:pbkdf2_sha\d{1,3}\$|pbkdf2:sha\d{1,3}:|scrypt:\d+:|\{SSHA\d{0,3}\}|\{CRYPT\})[\w$:+/=.-]{28,400}",
        edge=False,
        category=Category.HASH,
    ),
    _format(
        "ansible-vault",
        "$ansible_vault",
        r"\$ANSIBLE_VAULT;[\d.]+;AES256[\s\S]{0,8}(?:[0-9a-f]{20,80}\s{0,8}){1,400}",
        edge=False,
    ),
    _format(
        "otp-uri", "otpauth://", r"otpauth://[^\s\"'<>]{1,300}?secret=[A-Za-z2-7]{16,}[^\s\"'<>]{0,200}", edge=False
    ),
    _format("bitcoin-extended-key", "xprv yprv zprv", r"[xyz]prv[A-HJ-NP-Za-km-z1-9]{100,112}"),
    _format("amqp-or-sas", "sharedaccesssignature", r"SharedAccessSignature sr=[^\s\"'<>]{40,600}", edge=False),
)

FORMATS: tuple[TokenFormat, ...] = (
    *_CLOUD,
    *_CODE_HOSTS,
    *_MESSAGING,
    *_PAYMENTS,
    *_MODELS,
    *_OBSERVABILITY,
    *_BUSINESS,
    *_GENERAL,
)
"""Every format; the order carries no meaning."""

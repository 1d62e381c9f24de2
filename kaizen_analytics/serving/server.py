"""The answers as an MCP server, by the official SDK.

A client waits for the server to start, so what an answer needs (Polars, the statistics) is imported for the first
question.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics import __version__
from kaizen_analytics.core.errors import ConfigError, KaizenError

try:
    import anyio
    import anyio.to_thread
    from mcp import MCPError, types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
except ImportError:
    raise ConfigError("The MCP server needs another package: pip install 'kaizen_analytics[mcp]'.") from None

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.serving.answers import Answers, Document

_RETRO, _EXPERIMENTS = "kaizen://retro", "kaizen://experiments/"
_MARKDOWN = "text/markdown"
_INSTRUCTIONS = (
    "Figures about coding-agent sessions and experiments on this machine. Read an experiment's decision together with "
    "its grade: only arms of the grade 'randomised' support a causal claim. Names are pseudonyms unless the server was "
    "started with --full."
)


def _build_server(open_answers: Callable[[], Answers]) -> Server[Any]:
    """Return the server of the tools and of the pages `kaizen://retro` and `kaizen://experiments/ID`.

    `open_answers` is called for each question, so that nothing is kept from one answer to the next.
    """
    handlers = _Handlers(open_answers)
    return Server(
        "kaizen-analytics",
        version=__version__,
        instructions=_INSTRUCTIONS,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=_list_pages,
        on_list_resource_templates=_list_page_templates,
        on_read_resource=handlers.read_page,
    )


def serve(open_answers: Callable[[], Answers]) -> None:
    """Answer on standard input and output until the client closes them.

    >>> serve  # doctest: +ELLIPSIS
    <function serve at ...>
    """

    async def run() -> None:
        server = _build_server(open_answers)
        async with stdio_server() as (requests, replies):
            await server.run(requests, replies, server.create_initialization_options())

    anyio.run(run)


@dataclass(frozen=True, slots=True)
class _Handlers:
    """What the SDK calls. An answer is made in a thread, which a client that cancels does not wait for."""

    open_answers: Callable[[], Answers]

    async def list_tools(self, _context: object, _params: object) -> types.ListToolsResult:
        return await anyio.to_thread.run_sync(self._list)

    def _list(self) -> types.ListToolsResult:
        only_reads = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
        listed = [
            types.Tool(
                name=name,
                description=tool.description,
                input_schema=tool.takes,
                output_schema=tool.gives,
                annotations=only_reads,
            )
            for name, tool in self.open_answers().tools.items()
        ]
        return types.ListToolsResult(tools=listed)

    async def call_tool(self, _context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await anyio.to_thread.run_sync(self._call, params.name, params.arguments or {}, abandon_on_cancel=True)

    async def read_page(self, _context: object, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        text = await anyio.to_thread.run_sync(self._read, params.uri, abandon_on_cancel=True)
        contents = types.TextResourceContents(uri=params.uri, mime_type=_MARKDOWN, text=text)
        return types.ReadResourceResult(contents=[contents])

    def _call(self, name: str, given: Document) -> types.CallToolResult:
        import jsonschema

        answers = self.open_answers()
        tools = answers.tools
        if name not in tools:
            return _refuse(f"There is no tool {name!r}; there are {', '.join(tools)}.")
        try:
            jsonschema.validate(given, tools[name].takes)
            document = tools[name].answer(answers, **given)
            text = answers.check(name, json.dumps(document, ensure_ascii=False, allow_nan=False))
        except jsonschema.ValidationError as error:
            return _refuse(f"{error.json_path}: {error.message}.")
        except KaizenError as error:
            return _refuse(answers.explain(error))
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=document)

    def _read(self, uri: str) -> str:
        experiment = uri.removeprefix(_EXPERIMENTS)
        answers = self.open_answers()
        try:
            if uri != _RETRO and experiment in (uri, ""):
                raise ConfigError(f"There is no page {uri!r}; there are {_RETRO} and {_EXPERIMENTS}ID.")
            page = answers.retro_page() if uri == _RETRO else answers.conclusion_page(experiment)
            return answers.check("page", page)
        except KaizenError as error:
            raise MCPError(types.INVALID_PARAMS, answers.explain(error)) from error


def _refuse(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=message)], is_error=True)


async def _list_pages(_context: object, _params: object) -> types.ListResourcesResult:
    page = types.Resource(uri=_RETRO, name="retro", title="What to change: the last 28 days", mime_type=_MARKDOWN)
    return types.ListResourcesResult(resources=[page])


async def _list_page_templates(_context: object, _params: object) -> types.ListResourceTemplatesResult:
    template = f"{_EXPERIMENTS}{{id}}"
    page = types.ResourceTemplate(
        uri_template=template, name="experiment", title="An experiment's result", mime_type=_MARKDOWN
    )
    return types.ListResourceTemplatesResult(resource_templates=[page])

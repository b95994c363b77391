"""OGC API - Processes 1.0: a process is executed as a job, the job is followed, its results are fetched, it is dismissed.

Words and tables: the OGC sheet. An execution is synchronous unless the client prefers otherwise or the process offers only the
other way, as the standard wants; behind either stands a job. What makes an answer is in the modules beside this one: processes
and their inputs, preferences, results, the list, callbacks, and the flavour of one server in use.
"""

from __future__ import annotations

from datetime import timedelta

from simulator.apis import ogc_unity as unity
from simulator.apis.contract import Api, Call, Later, Problem, Refusal, Reply, Role, Setting, status_of
from simulator.apis.ogc_callbacks import announce, subscribed
from simulator.apis.ogc_list import find, paging
from simulator.apis.ogc_pages import page, wants_html
from simulator.apis.ogc_prefer import Preferences, read_preferences
from simulator.apis.ogc_processes import (
    PROCESSES,
    Process,
    description,
    no_such_process,
    read_inputs,
    selected,
    summary,
)
from simulator.apis.ogc_results import as_asked, as_document, one_output, unavailable
from simulator.apis.ogc_wire import (
    API,
    EXCEPTION,
    HTML,
    JSON,
    REL,
    WORDS,
    exception,
    job_url,
    link,
    status_info,
)
from simulator.engine.command import Cancel, Remove, Submit
from simulator.engine.draw import draw_uuid
from simulator.engine.errors import UnknownJob
from simulator.engine.job import Job, State
from simulator.engine.rules import Rules, cancel_active
from simulator.engine.script import CancelEffect

OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
CONFORMANCE = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
CLASSES = ("core", "ogc-process-description", "json", "oas30", "job-list", "callback", "dismiss")
CANNOT = {
    "delayed": "has no word for delayed: such a job is accepted",
    "retrying": "has no word for retrying: such a job is running",
    "cancelling": "has no word for cancelling: such a job is running",
    "attempts": "has no retry: while a job is tried again it is running, and nothing tells of the failure before",
    "log": "has no logs",
    "retry": "has no call that runs a job again",
}
"""What scenarios can say and this API cannot."""


def error(refusal: Refusal, call: Call) -> Reply:
    """Every refusal is an exception."""
    if unity.speaks(call):
        if unity.overlooks(refusal):
            reply = api.operations[call.operation].handler(call)
            assert isinstance(reply, Reply)
            return reply
        return unity.error(refusal, call)
    if isinstance(refusal, UnknownJob):
        if refusal.removed and call.settings["after_removal"] == "gone":
            return exception(410, f'Job "{refusal.job_id}" was removed.')
        detail = f'There is no job "{refusal.job_id}".'
        return exception(404, detail, type_=f"{EXCEPTION}no-such-job", title="No such job")
    status = status_of(refusal)
    return exception(status, str(refusal), type_="InvalidParameterValue" if status == 400 else "about:blank")


api = Api(
    name=API,
    title="OGC API - Processes",
    document="ogc.yaml",
    rules=Rules(
        identify=lambda seed, number: draw_uuid(seed, API, number),
        cancel=cancel_active(finished=CancelEffect.REMOVED),
        remove_in=frozenset(State),
    ),
    words=WORDS,
    cannot=CANNOT,
    error=error,
    status_fields=frozenset({"status"}),
    progress_fields=frozenset({"progress"}),
    announce=announce,
    settings={
        "after_removal": Setting(
            str,
            "not_found",
            "what a job answers after a second DELETE removed it: 404 (not_found) or 410 (gone)",
            choices=("not_found", "gone"),
        ),
        "flavour": Setting(
            str,
            "standard",
            "whom to be like: the standard, or a Unity SPS server with its deviations",
            choices=("standard", "unity"),
        ),
        "sync_timeout": Setting(
            timedelta,
            60_000,
            "how long a synchronous execution waits for its job at most; then it answers 500, and the job goes on",
        ),
        "callback_hosts": Setting(
            list,
            ("127.0.0.1", "localhost", "::1"),
            "hosts at which subscribers of jobs may be called back; nobody else ever is",
        ),
    },
)


# ---- the API itself -------------------------------------------------------------------------------------------------


@api.operation(Role.INFO)
def get_landing_page__get(call: Call) -> Reply:
    """Where everything is."""
    base = call.base_url
    links = [
        link(f"{base}/", "self"),
        link(f"{base}/?f=html", "alternate", HTML),
        link(f"{base}/api", "service-desc", OPENAPI),
        link(f"{base}/ui/", "service-doc", HTML),
        link(f"{base}/conformance", f"{REL}conformance"),
        link(f"{base}/processes", f"{REL}processes"),
        link(f"{base}/jobs", f"{REL}job-list"),
    ]
    if unity.speaks(call):
        links = unity.landing_links(links)
    if wants_html(call, JSON):
        return page(api.title, [(one["href"], one["rel"].rpartition("/")[2]) for one in links])
    told = "Processes that are executed as jobs, simulated by understudy."
    return Reply(200, {"title": api.title, "description": told, "links": links}, media_type=JSON)


@api.operation(Role.INFO)
def get_api_api_get(call: Call) -> Reply:
    """The document of this API, as it is served here."""
    if wants_html(call, OPENAPI, JSON):
        return page(
            api.title, [(f"{call.base_url}/ui/", "Swagger UI"), (f"{call.base_url}/api?f=json", "OpenAPI")]
        )
    media_type = call.preferred((OPENAPI, JSON)) or OPENAPI
    return Reply(200, {**call.document, "servers": [{"url": call.base_url}]}, media_type=media_type)


@api.operation(Role.INFO)
def get_conformance_conformance_get(call: Call) -> Reply:
    """The classes of the standard that are implemented."""
    names = unity.CLASSES if unity.speaks(call) else CLASSES
    classes = [f"{CONFORMANCE}{name}" for name in names]
    if wants_html(call, JSON):
        return page("Conformance", [(one, one) for one in classes])
    return Reply(200, {"conformsTo": classes}, media_type=JSON)


@api.operation(Role.INFO)
def get_health_health_get(call: Call) -> Reply:
    """All is well."""
    return Reply(200, {"status": "OK"})


# ---- processes ------------------------------------------------------------------------------------------------------


@api.operation(Role.INFO)
def get_processes_processes_get(call: Call) -> Reply:
    """What can be executed, in short."""
    summaries = [summary(call, process) for process in PROCESSES.values()]
    if unity.speaks(call):
        return unity.process_list(summaries)
    links = [link(f"{call.base_url}/processes", "self")]
    return Reply(200, {"processes": summaries[: call.params["limit"]], "links": links})


@api.operation(Role.INFO)
def get_api_processes_api_processes_list_get(call: Call) -> Reply:
    """The ids of all processes, as a schema."""
    if wants_html(call, JSON):
        return page("Processes", [(f"{call.base_url}/processes/{id_}", id_) for id_ in PROCESSES])
    return Reply(200, {"type": "string", "enum": list(PROCESSES)}, media_type=JSON)


@api.operation(Role.INFO)
def get_process_description_processes__processId__get(call: Call) -> Reply:
    """One process with its inputs and outputs."""
    process = PROCESSES.get(call.params["processId"])
    if process is None:
        return (
            unity.no_such_process(call) if unity.speaks(call) else no_such_process(call.params["processId"])
        )
    return Reply(200, description(call, process))


# ---- execution ------------------------------------------------------------------------------------------------------


@api.operation(Role.SUBMIT)
def execute_processes__processId__execution_post(call: Call) -> Reply | Later:
    """Make a job, and answer with it or, when it has ended, with its results; bad inputs never become a job."""
    process = PROCESSES.get(call.params["processId"])
    if process is None:
        return (
            unity.no_such_process(call) if unity.speaks(call) else no_such_process(call.params["processId"])
        )
    job = _submit(call, process)
    if unity.speaks(call):
        return unity.executed(call, status_info(call, job))
    prefer = read_preferences(call.params.get("prefer", ""))
    if prefer.is_async(process.options):
        return _accepted(call, job, "respond-async" if prefer.respond_async else None)
    return _when_done(call, process, job, prefer)


def _submit(call: Call, process: Process) -> Job:
    """Make the job of an execution.

    Raises:
        Problem: an input does not fit, or an output does not exist.
    """
    try:
        pause = read_inputs(process, call.body).get("pause", 0)
        # Asked for now so that an output which does not exist is refused now, too.
        selected(process, call.body)
    except Problem:
        if not unity.speaks(call):
            raise
        pause = 0
    return call.world.apply(
        Submit(
            api=API,
            kind=process.id,
            request=call.body,
            labels=process.labels,
            lasts_ms=0 if isinstance(pause, dict) else int(pause) * 1000,
            fails_with=process.failure,
            **subscribed(call),
        )
    )


def _accepted(call: Call, job: Job, applied: str | None) -> Reply:
    """The answer of an asynchronous execution; `applied` is the preference that led to it."""
    headers = {"Location": job_url(call, job)}
    if applied is not None:
        headers["Preference-Applied"] = applied
    return Reply(201, status_info(call, job), headers, JSON)


def _when_done(call: Call, process: Process, job: Job, prefer: Preferences) -> Later:
    """The answer of a synchronous execution, when the job has ended or the patience of client or server has."""
    patience_ms = call.settings["sync_timeout"]
    may_become_async = prefer.may_become_async(process.options)
    if may_become_async and prefer.wait_seconds is not None:
        patience_ms = min(patience_ms, prefer.wait_seconds * 1000)
    until_ms = call.now_ms + patience_ms
    waited = f"wait={prefer.wait_seconds}" if may_become_async else None

    def answer() -> Reply | None:
        now = call.world.job(API, job.id)
        if now.state.is_final:
            return _also_applied(unavailable(now) or as_asked(call, now, prefer), waited)
        if call.now_ms < until_ms:
            return None
        return _accepted(call, now, waited) if may_become_async else _too_slow(call, now, patience_ms)

    return Later(answer, until_ms)


def _also_applied(reply: Reply, preference: str | None) -> Reply:
    if preference is not None and reply.status < 300:
        names = filter(None, [preference, reply.headers.get("Preference-Applied")])
        reply.headers = {**reply.headers, "Preference-Applied": ", ".join(names)}
    return reply


def _too_slow(call: Call, job: Job, patience_ms: int) -> Reply:
    """A job that outlives the patience of the server; the standard has no status of its own for it."""
    detail = f'Job "{job.id}" is {WORDS[job.state]} after {patience_ms / 1000:g} s and goes on: {job_url(call, job)}'
    return exception(500, detail, title="Execution takes too long")


# ---- jobs -----------------------------------------------------------------------------------------------------------


@api.operation(Role.LIST)
def get_jobs_jobs_get(call: Call) -> Reply:
    """One page of jobs, newest first."""
    if unity.speaks(call):
        return unity.job_list(status_info(call, job) for job in call.world.jobs(API, limit=unity.JOBS_MAX))
    jobs, total = find(call)
    return Reply(200, {"jobs": [status_info(call, job) for job in jobs], "links": paging(call, total)})


@api.operation(Role.STATUS)
def get_status_jobs_job_id_get(call: Call) -> Reply:
    """One job."""
    return Reply(200, status_info(call, call.world.job(API, call.params["jobId"])))


@api.operation(Role.CANCEL)
def dismiss_jobs_job_id_delete(call: Call) -> Reply:
    """An active job is dismissed and kept; one that has ended is removed, and its last words say dismissed, too."""
    before = call.world.job(API, call.params["jobId"])
    job = call.world.apply(Cancel(API, before.id))
    if unity.speaks(call) and not before.state.is_final:
        # Whatever becomes of the work, that server forgets the job.
        call.world.apply(Remove(API, job.id))
    if unity.speaks(call) or job.state.is_final:
        job = job._replace(state=State.CANCELLED, step_ms=call.now_ms, finished_ms=call.now_ms)
    return Reply(200, status_info(call, job))


@api.operation(Role.RESULT)
def get_result_jobs_job_id_results_get(call: Call) -> Reply:
    """The results by output; for a job without any, why it has none."""
    job = call.world.job(API, call.params["jobId"])
    if unity.speaks(call):
        return unity.results()
    return unavailable(job) or as_document(call, job, read_preferences(call.params.get("prefer", "")))


@api.operation(Role.RESULT)
def get_result_output_jobs_job_id_results_output_id_get(call: Call) -> Reply:
    """The bare value of one output."""
    if unity.speaks(call):
        return unity.no_such_path()
    job = call.world.job(API, call.params["jobId"])
    return unavailable(job) or one_output(call, job, call.params["outputId"])

"""The doctor's table for people."""

from __future__ import annotations

from kwsd.doctor.examine import Examination, Verdict


def as_table(found: Examination) -> str:
    """One line a check; what to do next stands below what is not well."""
    width = max(len(finding.check) for finding in found.findings)
    lines = []
    for finding in found.findings:
        lines.append(f"{finding.verdict:<8}{finding.check:<{width}}  {finding.detail}")
        if finding.next_step:
            lines.append(f"{'':<8}{'':<{width}}  -> {finding.next_step}")
    summary = {
        Verdict.OK: "nothing wrong was found",
        Verdict.WARN: "it can work, but not as well as it could",
        Verdict.FAIL: "something keeps words from being heard well",
    }
    unknown = sum(finding.verdict is Verdict.UNKNOWN for finding in found.findings)
    left = f"; {unknown} not to be told from this recording" if unknown else ""
    mics, reference = list(found.mics), list(found.reference)
    lines.append(f"{summary[found.worst]}{left}")
    told = "as heard" if found.map_heard else "not to be told from this recording, in use"
    lines.append(f"channel map {told}: mics = {mics}, reference = {reference}")
    return "\n".join(lines) + "\n"

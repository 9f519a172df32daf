"""Tables of `jobs/kvfreeze benchmark`, made from the lines of JSON that it keeps."""

import json
import pathlib
import statistics

import _benchmark_whole_job

# What issue 4 asks for: kvfreeze's tokens a second over llama.cpp's, at least, by the end of the model file's name.
BARS = {
    "SmolLM2-135M-Instruct.Q4_1": {"decode 128": 2.2, "decode 2048": 2.8, "decode 7936": 3.2, "prefill 512": 3.0, "prefill 7936": 3.0},
    "SmolLM2-135M-Instruct.Q8_0": {"decode 128": 1.5, "decode 2048": 2.0, "decode 7936": 2.5, "prefill 512": 1.1, "prefill 7936": 1.3},
    "SmolLM2-135M-Instruct.Q4_0": {"decode 128": 1.5, "decode 2048": 2.0, "decode 7936": 2.5, "prefill 512": 1.1, "prefill 7936": 1.3},
    "gemma-3-270m-Q4_K_M": {"decode 128": 1.2, "decode 2048": 1.2, "decode 7936": 1.2, "prefill 512": 1.0, "prefill 7936": 1.0},
}
BATCH_BARS = {"decode 2048": 2.5}


def read_records(file):
    return [json.loads(line) for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]


def rates(records, figure):
    """Tokens a second of a figure such as `decode 128`, by round."""
    part, context = figure.split()
    return {r["round"]: r[part][context] for r in records if r[part].get(context)}


def figures(records):
    """`prefill 128`, `decode 128` and so on, prefill first, by length."""
    found = {(part != "prefill", int(c), f"{part} {c}") for r in records for part in ("prefill", "decode") for c in r[part]}
    return [name for _, _, name in sorted(found)]


def by_side(records, peers):
    sides = {}
    for record in records:
        if record["peer"] == peers:
            sides.setdefault(record["side"], []).append(record)
    return sides


def best_peer(records, figure):
    """The peer with the best median at a figure, as name and rates by round; None without peers."""
    best = None
    for side, runs in by_side(records, peers=True).items():
        values = rates(runs, figure)
        if values and (best is None or statistics.median(values.values()) > statistics.median(best[1].values())):
            best = side, values
    return best


def worth_measuring(records, side, contexts, margin):
    """Those contexts at which a peer is within the margin of the best peer, by what is known so far."""
    runs = [r for r in records if r["side"] == side]
    if not runs:
        return list(contexts)
    worth = []
    for context in contexts:
        for figure in (f"prefill {context}", f"decode {context}"):
            values = rates(runs, figure)
            best = best_peer(records, figure)
            if values and statistics.median(values.values()) >= (1 - margin) * statistics.median(best[1].values()):
                worth.append(context)
                break
    return worth


def cell(values):
    values = list(values)
    if not values:
        return ""
    digits = 0 if statistics.median(values) >= 100 else 1
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio_cell(own, peer, bar):
    """The median of the ratios of the rounds that have both, with their range and the bar."""
    ratios = [own[r] / peer[r] for r in own if r in peer] or [
        statistics.median(own.values()) / statistics.median(peer.values())
    ]
    median = statistics.median(ratios)
    text = f"**{median:.2f}x** ({min(ratios):.2f} to {max(ratios):.2f})"
    if bar:
        text += f", bar {bar:g}: " + ("reached" if median >= bar else "**missed**")
    return text


def table(records):
    """One model and batch size: a row a side with medians and ranges, then the ratios to the faster peer."""
    names = figures(records)
    lines = ["| tokens/s, median (range) | load ms | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for peers in (True, False):
        for side, runs in by_side(records, peers).items():
            cells = [cell(r["load_ms"] for r in runs)] + [cell(rates(runs, name).values()) for name in names]
            lines.append(f"| {side} | " + " | ".join(cells) + " |")
    best = {name: best_peer(records, name) for name in names}
    if not any(best.values()):
        return "\n".join(lines)
    lines.append("| the faster peer | | " + " | ".join(best[name][0] if best[name] else "" for name in names) + " |")
    bars = BATCH_BARS if records[0]["batch"] > 1 else BARS.get(records[0]["model"], {})
    for side, runs in by_side(records, peers=False).items():
        cells = []
        for name in names:
            own = rates(runs, name)
            cells.append(ratio_cell(own, best[name][1], bars.get(name)) if own and best[name] else "")
        lines.append(f"| {side} / the faster peer | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def warnings(records):
    """A line for each of our processes whose kernels did not compile as meant."""
    return [
        f"- round {r['round']}, {r['side']}: {r['kernel_check']}"
        for r in records
        if r.get("kernel_check") and not r["kernel_check"].startswith("good")
    ]


def report(records):
    """Markdown for all records: a section for each model and batch size, then one for each whole job."""
    groups, whole_jobs = {}, {}
    for record in records:
        if "whole_job" in record:
            whole_jobs.setdefault((record["command"], record["time"]), []).append(record)
            continue
        groups.setdefault((record["model"], record["batch"]), []).append(record)
    parts = []
    for (model, batch), group in groups.items():
        first = group[0]
        rounds = len({r["round"] for r in group})
        peers = sorted({f"{r['version']}: {r['build']}" for r in group if r["peer"]})
        ours = next((r for r in group if not r["peer"]), {})
        together = "one document at a time" if batch == 1 else f"{batch} documents together, rates of all of them"
        title = f"## {model}, {together}"
        about = (
            f"Machine: {first['machine']}. Date: {first['time'][:10]}. {first['threads']} threads, {rounds} rounds, in each a fresh "
            f"process of every side in turn. Kernels {ours.get('provider', '-')}. Other programs used at most "
            f"{max(r['busy'] for r in group):.0%} of the processors before a round. A JVM generates for "
            f"{first['warm_up_seconds']:g} s before it is measured; {first['decode_tokens']} tokens are decoded a measurement."
        )
        parts += [title, "", about, ""]
        if peers:
            parts += ["Peers, with plain and with flash attention: " + "; ".join(peers), ""]
        commands = dict.fromkeys(r["command"] for r in group)
        parts += [f"Command: `{command}`" for command in commands] + ["", table(group), ""]
        if found := warnings(group):
            parts += ["Kernels that did not compile as meant:", "", *found, ""]
    parts += [_benchmark_whole_job.report(group) for group in whole_jobs.values()]
    return "\n".join(parts)

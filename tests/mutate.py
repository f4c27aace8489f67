"""Does the suite notice a broken kernel? Each mutation is made in a copy of the sources, and the tests must fail there.

Run: python tests/mutate.py            (about half an hour, as the kernels are compiled anew for each)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BCE, LOGITS, ELEMENTARY = "losses/bce.py", "losses/bce_with_logits.py", "formula/elementary.py"
TREES, IO, RUN, PACKED = "table/trees/", "io/", "table/run/", "table/packed/"
LAYOUT, CPU, GPU = "engine/layout.py", "engine/numba_cpu/", "engine/triton_gpu/"
SELECTED = "not processes and not site"  # every combination
# fmt: off
MUTATIONS = (
    (BCE, "return where(y == 1.0, 0.0, 1.0)", "return where(y == 1.0, 0.0, 1.0 + 1e-6)", "kernels"),
    (BCE, "return (x >= 0.0) & (x <= 1.0) & ((y == 0.0) | (y == 1.0))", "return (x >= 0.0) & (x <= 1.0)", "kernels"),
    (LOGITS, "return (1.0 - y + pos_weight * y) * e /", "return (1.0 + pos_weight * y) * e /", "formulas"),
    (LOGITS, "return (no + yes) * log1p_unit", "return (1.0 + (pos_weight - 1.0) * y) * log1p_unit", "kernels"),
    (BCE, "(1.0 - y) * x - pos_weight * y * (1.0 - x))", "x - y - (pos_weight - 1.0) * y * (1.0 - x))", "kernels"),
    (ELEMENTARY, "p * r + 8.3334519073e-3", "p * r + 8.3e-3", "kernels"),
    (ELEMENTARY, "series = series * z + 1.818357216161805012e-01", "series = series * z + 1.8183e-01", "kernels"),
    (ELEMENTARY, "rest = c * float_of((127 - k) << 23)", "rest = 0.0 * c * float_of((127 - k) << 23)", "kernels"),
    (ELEMENTARY, "tiny = u < 1.17549435e-38", "tiny = u < 0.0", "kernels"),
    (ELEMENTARY, "series = ((0.2322433 * z + 0.21706575)", "series = ((0.2322433 * z + 0.2165)", "kernels"),
    (ELEMENTARY, "near = (base == 1.0) & (rest > -0.5)\n    b = bits((base + rest) * 8388608.0)", "near = (base == 2.0) & (rest > -0.5)\n    b = bits((base + rest) * 8388608.0)", "kernels"),
    (ELEMENTARY, "+ (bits(shifted) << 23)) * 5.421010862427522e-20", "+ (bits(shifted) << 23)) * 5.42101e-20", "kernels"),
    (LAYOUT, "weight.size() == like.size()[-weight.ndim :]", "weight.numel() == like.size()[-1]", "kernels"),
    (LAYOUT, "view.reshape(-1).contiguous()", "view.reshape(-1)", "layouts"),
    (LAYOUT, "if tensor.numel() != items or not (tensor.is_contiguous() or is_dense(tensor)) or tensor.is_neg():", "if tensor.numel() != items:", "layouts"),
    ("engine/cpp_node/node.cpp", "if (strides != call.input.strides()) {", "if (false) {", "layouts"),
    (LAYOUT, "if target.stride() != input.stride():", "if target.numel() != input.numel():", "kernels"),
    ("losses/patch.py", "return hash(self.torchs)", "return id(self)", "patching"),
    ("losses/patch.py", "elif isinstance(value, staticmethod) and value.__func__ is old:", "elif False:", "patching"),
    ("engine/overrides.py", 'if hasattr(named, "torchs"):', "if False:", "patching"),
    (CPU + "passes/product.py", "residual += small - (factor - base)", "residual += 0.0", "kernels"),
    (CPU + "passes/product.py", "least if factor < least else factor", "factor", "kernels"),
    (CPU + "passes/product.py", "f8(exponent[k] - i8(1023) * groups)", "f8(exponent[k] - i8(1022) * groups)", "kernels"),
    (CPU + "passes/total.py", "item = exact_value(f8(xi), f8(yi), *p) * w", "item = exact_value(f8(xi), f8(yi), *p)", "kernels"),
    (CPU + "passes/total.py", "step = exact_derivative(f8(xi), f8(yi), *p) * w * scale", "step = exact_derivative(f8(xi), f8(yi), *p)", "kernels"),
    (CPU + "passes/total.py", "sums[c] = f8(np.nan) if invalid != 0 else total", "sums[c] = total", "kernels"),
    (CPU + "passes/block.py", "step *= scratch.weights[j]", "step *= scale", "kernels"),
    (CPU + "passes/total.py", "                    sums[k], residual = two_sum(sums[k], f8(values[row * LANES + k]))", "                    sums[k], residual = sums[k] + f8(values[row * LANES + k]), f8(0.0)", "kernels"),
    (CPU + "passes/total.py", "+ (f8(values[j + 2 * LANES])", "+ (f8(values[j + LANES])", "kernels"),
    (CPU + "broadcast.py", "into[head + k] = read(pointer, k)", "into[head + k] = read(pointer, run + k)", "kernels"),
    (CPU + "broadcast.py", "into[at + k] = into[k]", "into[at + k] = into[0]", "kernels"),
    (CPU + "broadcast.py", "run = run + 1 if run + 1 < period else 0", "run = run + 1", "kernels"),
    (CPU + "broadcast.py", "left = inner - (start - run * inner)", "left = inner", "kernels"),
    (CPU + "storage.py", "(bits + i4(0x7FFF) + ((bits >> i4(16)) & i4(1)))", "(bits + i4(0x8000))", "kernels"),
    (CPU + "storage.py", "where(size < i4(0x38800000), subnormal, normal)", "normal", "kernels"),
    (CPU + "launch.py", "return math.fsum(sums)", "return sum(sums)", "kernels"),
    (CPU + "launch.py", "if mean and divisor:", "if mean and divisor and scale is None:", "engines"),
    (CPU + "specialize.py", "yi = checked * options.factor + options.shift", "yi = checked", "losses"),
    (CPU + "specialize.py", "marks = v.masked or (by_class and ignoring)", "marks = v.masked", "losses"),
    (CPU + "specialize.py", "counts = not ((yi == ignored) | ((ignored != ignored) & (yi != yi)))", "counts = not (yi == ignored)", "losses"),
    (CPU + "passes/block.py", "step = step if counts else zero", "step = step", "losses"),
    (CPU + "launch.py", "value / divisor if divisor else value", "value / divisor if divisor else math.nan", "losses"),
    (CPU + "buffers.py", "_kept.pop(key, None) is not None", "_kept.get(key, None) is not None", "runtime"),
    (CPU + "threads.py", "_pool, _lock, _forked = None, threading.Lock(), True", "pass", "runtime"),
    ("formula/powers.py", "if exponent.value == 1.0", "if exponent.value == 2.0", "losses"),
    ("engine/cpp_node/passes.h", "if (low != 0) parts[kept++] = low;", "", "node"),
    ("engine/cpp_node/node.cpp", "alone ? grad : grad.clone()", "grad", "node"),
    ("engine/cpp_node/call.h", "input.strides() == target.strides()", "true", "node"),
    (LAYOUT, "others = [d - (d > dim) for d in order if d != dim]", "others = [d for d in range(target.ndim)]", "losses"),
    (GPU + "passes.py", "y = checked * factor + shift", "y = checked", "losses"),
    (GPU + "passes.py", "position = i // (inner * count) * inner + i % inner", "position = i // (inner * count) * inner", "losses"),
    ("engine/reference.py", "y = y * call.target_transform.factor + call.target_transform.shift", "y = y * call.target_transform.factor", "losses"),
    ("formula/derivative.py", "top = _add(d[0], _negative(_times(d[1], node)))", "top = _add(d[0], _times(d[1], node))", "fused"),
    ("formula/primitives.py", '"detach": _plain("stop_gradient")', '"detach": lambda value: value', "fused"),
    ("losses/asymmetric.py", "return at_least(p - clip, 0.0)", "return p - clip", "losses"),
    ("losses/distribution_balanced.py", "softplus(-scale * z))", "softplus(scale * z))", "losses"),
    ("engine/validate.py", "smoothing / (options.get(\"num_classes\") or 2)", "smoothing / 2", "losses"),
    ("losses/denominator.py", "total / distributed.get_world_size(group) if averaged else total", "total", "losses"),
    (GPU + "passes.py", "if WRONGS is not None:\n        tl.store(WRONG, tl.sum(wrong, axis=0))", "if WRONGS is not None:\n        tl.store(WRONG, 0)", "kernels"),
    (GPU + "passes.py", "tl.load(pointer + (i // inner) % period", "tl.load(pointer + (i % period) // inner", "kernels"),
    ("engine/autograd.py", "ctx.grad_input = None", "pass", "engines"),
    ("engine/autograd.py", "            torch.is_grad_enabled()\n            or torch_internals", "            torch_internals", "engines"),
    ("engine/reference.py", "first = tensor.movedim(dim, 0)", "first = tensor", "vmap"),
    ("engine/reference.py", "*(1,) * (rank - first.ndim + 1), *first.shape[1:]", "*first.shape[1:]", "vmap"),
    ("engine/reference.py", "return _backward(ctx, grad, apply)", "return _backward(ctx, grad.detach(), apply)", "nested_transforms"),
    ("engine/reference.py", "with torch_internals.forward_mode_on():", "if True:", "nested_transforms"),
    ("engine/reference.py", "return torch.where(v >= 0, v, -v)", "return torch.abs(v)", "nested_transforms"),
    ("engine/torch_internals.py", "assert_all(unwrapped(allowed), message)", "assert_all(allowed, message)", "compile_checks"),
    ("formula/derivative.py", 'graph.apply("ge", a[0], 0.0), first', 'graph.apply("gt", a[0], 0.0), first', "transforms"),
    ("engine/compute.py", "result.new_empty_strided(result.size(), strides).copy_(result)", "torch.empty_like(like, dtype=result.dtype).copy_(result)", "vmap"),
    ("engine/check_values.py", "if allowed.device.type not in ASSERTING:", "if True:", "compile_checks"),
    ("engine/check_values.py", "_ASSERT_ALL if graph_ops.needed() else torch_internals.assert_all", "torch_internals.assert_all", "compile_checks"),
    (TREES + "walk.py", "number > threshold[node]", "number >= threshold[node]", "trees"),
    (TREES + "walk.py", "min(BLOCK, row_count - first)", "BLOCK", "trees"),
    (TREES + "boosting.py", "np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)", "near", "trees"),
    (TREES + "boosting.py", "ones = weight * data.target[rows]", "ones = data.target[rows]", "trees"),
    (TREES + "compiled.py", "(left < end - 1)", "(left < end)", "trees"),
    ("perceptron/rows.py", '_require_below("codes", self.codes.numpy(), levels)', "pass", "cache"),
    ("perceptron/rows.py", '_require_below("bins", self.bins.numpy(), bins)', "pass", "compiled_memory"),
    ("perceptron/trainer.py", "if not self._limits.contain(rows.limits):", "if False:", "compiled_memory"),
    (PACKED + "cache.py", 'hashlib.file_digest(file, "sha256").hexdigest() != part.sha256', "False", "cache"),
    (PACKED + "cache.py", "_require_own(path.name, os.fstat(file.fileno()))", "pass", "cache"),
    (PACKED + "bounds.py", 'self._require_between("fraction", arrays["fractions"], 0.0, 1.0, self.cut)', "pass", "cache"),
    ("checkpoint/form.py", "state.dtype == form.dtype and state.ndim", "state.ndim", "crafted_checkpoints"),
    ("table/run/joined.py", "if table is None and name != Path(name).name:", "if False:", "run_folder"),
    ("table/model.py", "if not finite.all():", "if False:", "run_folder"),
    ("table/ensemble/ensemble.py", "np.logaddexp.at(no, row, -np.logaddexp(0.0, logits))", "no[row] = -np.logaddexp(0.0, logits)", "trees"),
    ("common/visible.py", r"\u200b-\u200f", r"\u200c-\u200f", "markup"),
    ("common/markdown.py", '(literal.replace("|", "\\\\|") if in_table else literal)', "literal", "markup"),
    ("explanation/plots/figure.py", '"parse_math": False', '"parse_math": True', "markup"),
    ("explanation/plots/figure.py", 're.sub("<[^>]*>"', 're.sub(".*"', "markup"),
    ("explanation/render/html.py", "        finalize=_safe,\n", "", "markup"),
    ("explanation/render/text.py", "{shown(group.name)}", "{group.name}", "markup"),
    (RUN + "card.py", "code(column.name, in_table=True)", "column.name", "names_in_training"),
    (RUN + "write.py", "except Exception as error:", "except OSError as error:", "names_in_training"),
    ("io/size.py", "cells += shards.rows * len(shards.columns)", "cells += 0", "memory"),
    ("io/size.py", "if texts * TEXT_COPIES < limit:", "if texts * 0 < limit:", "memory"),
    ("io/size.py", "if rows * width > limit:", "if rows * width > limit * 1e9:", "memory"),
    ("io/size.py", "plain = all(", "plain = any(True or ", "memory"),
    (IO + "windows.py", "step = rows_within(row_bytes(table.select(columns).collect_schema()), end, SLICE_BYTES)", "step = max(end, 1)", "memory"),
    (IO + "windows.py", "while len(ends) and ends[-1] - before > WINDOW_BYTES:", "while False:", "memory"),
    ("table/splits/row_sample.py", "if whole.estimated_size() <= ROOM or self._size == 1:", "if whole.height:", "memory"),
    ("explanation/sketch/archive.py", "if size > allowed:", "if size < 0:", "memory"),
    ("explanation/sketch/archive.py", "if header != member.file_size:", "if header < 0:", "memory"),
    (IO + "csv_rows.py", "    if is_open:\n        raise QuoteError(", "    if number < -1:\n        raise QuoteError(", "csv_rows"),
    (IO + "csv_header.py", "positions.setdefault(column, position)", "names.index(column) + 1", "csv_rows"),
    (IO + "scan.py", "frame = frame.head(frame.height - waiting.height)", "pass", "exports"),
    (IO + "scan.py", "        if header.empty:\n            refuse", "        if False:\n            refuse", "exports"),
    (IO + "csv_sample.py", "first == counts", "bool(first)", "exports"),
    (IO + "csv_tail.py", "if is_apart or notes > 1", "if notes", "exports"),
    (IO + "workbooks.py", "if size > MAX_BYTES:", "if size > MAX_BYTES * 1e9:", "other_kinds"),
    ("table/baselines.py", "-(-rows.size // MAX_CELLS) or 1", "1", "bounded_work"),
    ("common/processes/collective.py", "    if different:\n", "    if not names:\n", "agreement"),
    ("io/scan.py", "if not keys:", "if keys is not None:", "shards"),
    ("table/columns/target_encoder.py", "if self._as_booleans and self._as_numbers:", "if self._as_booleans and not texts:", "shards"),
    ("cli/shared/files_out.py", "if why is not None:", "if why == option:", "outputs"),
    ("common/signals.py", "if _watch.active and _watch.asked", "if _watch.active and not _watch.asked", "signals"),
    ("io/frames.py", 'in ("NAType", "NaTType")', 'in ("NaTType",)', "classifier_inputs"),
    ("io/frames.py", "if wanted is None or name in wanted", "if True", "classifier_inputs"),
    ("table/columns/columns.py", "return 0.0 if self.others else np.nan", "return 0.0", "unknown"),
    ("table/columns/columns.py", "np.where(np.isin(codes, self.known), codes, np.nan)", "codes", "unknown"),
    ("table/columns/background.py", "passed = np.cumsum(weight[order])", "passed = np.cumsum(np.ones(len(order)))", "unknown"),
    ("table/columns/background.py", "hashed(rows[lacking], key_of(number))", "hashed(lacking, key_of(number))", "unknown"),
    ("table/run/export/onnx_columns.py", "codes[column.known] = column.known", "codes[:] = np.arange(len(codes))", "unknown"),
    ("explanation/statistics/unseen.py", "if errors >= FEWEST_OF_A_CLASS:", "if True:", "unseen"),
    ("explanation/statistics/unseen.py", "/ independent *", "/ count *", "unseen"),
    ("explanation/statistics/unseen.py", "gap.reach > CLEARLY *", "gap.reach > math.inf *", "bets"),
    ("explanation/statistics/unseen.py", "np.cumsum(levels[::-1], 0).tolist()", "[levels.sum(0).tolist()]", "bets"),
    ("comparison/evidence.py", "p_value < SIGNIFICANT else", "p_value < 0 else", "bets"),
    ("comparison/evidence.py", "gaps.around(Interval(mean - q * standard_error, mean + q * standard_error), mean)", "Interval(mean - q * standard_error, mean + q * standard_error)", "bets"),
    ("comparison/pairs.py", "self.bets[name].merge(other.bets[name])", "pass", "bets"),
    ("comparison/parts.py", "return Part(value, gaps.around(students(value, zeros, ones), value))", "return Part(value, students(value, zeros, ones))", "bets"),
    ("comparison/ranking.py", "chance=CHANCE / at_once, factor=factor)", "chance=1.0, factor=factor)", "bets"),
    ("comparison/ranking.py", "pairs = list(itertools.combinations(order, 2))", "pairs = [(best, place) for place in order[1:]]", "compare"),
    ("explanation/data/summarize.py", "separated=order > SEPARATED", "separated=False", "unseen"),
    ("table/classifier/classifier.py", "weight / weight.mean() * own.mean()", "np.ones(judged_by)", "eval_weights"),
    ("table/classifier/eval_set.py", "return frame[counts], y[counts], weight[counts]", "return frame, y, np.ones(len(y))", "eval_weights"),
    ("table/importance.py", "(weight * values).sum()", "values.sum()", "eval_weights"),
    ("table/run/report.py", "weight=weight,", "weight=None,", "eval_weights"),
    ("table/splits/straddling.py", "return split[0][~np.isin(train, judged_by)], split[1][~np.isin(aside, learnt_from)]", "return split", "straddling"),
    ("table/splits/straddling.py", "split[0][~np.isin(train, judged_by)]", "split[0]", "straddling"),
    ("table/splits/splits.py", "usable &= ~np.isin(others.groups, dataset.groups)", "pass", "straddling"),
    ("table/splits/row_parts.py", "np.where(parts[rows] == self._seen.sides[positions], parts[rows], DROPPED)", "parts[rows]", "straddling"),
    ("table/splits/row_parts.py", "parts[_known_groups(keys, has_group, self._seen.groups)[0]] = DROPPED", "pass", "straddling"),
    ("table/splits/row_parts.py", "parts[self._times.of(batch) <= self._seen.latest] = DROPPED", "pass", "straddling"),
    ("monitor/counting.py", '"valid": Divided(batch.counted, batch.counted, batch.counted, "item")', '"valid": Divided(batch.size, batch.size, batch.size, "item")', "epoch_bce_options"),
    ("monitor/counting.py", 'ones=read(torch.where(counts, y, 0.0).sum(dtype=wide))', 'ones=read(y.sum(dtype=wide))', "epoch_bce_options"),
    ("monitor/convention.py", 'return "valid"  # a sum', 'return "numel"  # a sum', "epoch_bce_options"),
    ("monitor/epoch_bce.py", "if self._loss != other._loss and not self._takes(other):", "if False:", "epoch_bce_options"),
    ("monitor/epoch_bce.py", "self._plain &= weight is None", "pass", "epoch_bce_options"),
    ("losses/module.py", 'return str(self.options.get("reduction", "mean"))', 'return "mean"', "epoch_bce_options"),
    ("fitting/forward.py", "with_targets |= convention.needs_targets", "pass", "epoch_bce_options"),
    ("labels/tails.py", "betaincinv(one_more**2 / its_square, seen,", "betaincinv(one_more, seen,", "labels"),
    ("labels/noise.py", "- DEVIANCE * wider[at]", "- DEVIANCE * 100", "labels"),
    ("labels/estimate.py", "for curve in curves])", "for curve in (curves[1], *curves[1:])])", "labels"),
    ("labels/find_label_errors.py", "np.lexsort((worst.row, -worst.loss, -saving, -chance)), chance > 0", "np.lexsort((worst.row, -worst.loss, -saving)), saving > 0", "labels"),
    ("labels/find_label_errors.py", "estimate = seen.several or estimated(points, line)", "estimate = estimated(points, line)", "labels"),
    ("checks/probing/trial.py", "_unless_refused(lambda: identified(forms)) if forms else None", "None", "check_forms"),
    ("checks/probing/batch_form.py", "whole[:, self._places] = chosen.reshape(len(chosen), -1)", "pass", "check_forms"),
    ("checks/probing/parts.py", "found = [(name, tensor) for name, tensor in found if name in reached] or found", "pass", "check_forms"),
    ("checks/probing/fingerprint.py", "torch.randperm(z.numel(), generator=torch.Generator().manual_seed(0))", "torch.zeros(z.numel()).long()", "check_missed"),
    ("checks/probing/loss_graph.py", "if before is not None and name_of(before) in SQUASHING:", "if False:", "check_forms"),
    ("checks/probing/ranges.py", "if name in TRANSPARENT or name in AVERAGING:", "if name in TRANSPARENT:", "check_missed"),
    ("checks/probing/ranges.py", "if is_square(node):", "if False:", "check_missed"),
    ("checks/probing/trial.py", 'torch.compiler.set_stance("force_eager")', 'torch.compiler.set_stance("default")', "check_alarms"),
    ("checks/probing/copies.py", "if isinstance(part, UninitializedBuffer):", "if False:", "check_alarms"),
    ("checks/probing/by_design.py", "if left and right and (left <= right or right <= left):", "if False:", "check_alarms"),
    ("checks/rules/activations.py", 'if t.takes == "probabilities" and _may_be_anything(t):', "if False:", "check_missed"),
    ("checks/rules/inputs.py", "ROUNDINGS = 8", "ROUNDINGS = 0", "check_missed"),
    ("checks/rules/inputs.py", "return [name for name in ignored if name in _ignored(copied(model), t, names)] if ignored else []", "return ignored", "check_alarms"),
    ("checks/rules/gradients.py", "not _cancels(t, name, seen) and", "", "check_alarms"),
    ("checks/rules/targets.py", "if outcome.level is Level.FAIL and t.maps:", "if False:", "check_alarms"),
    ("checks/rules/learning_curve.py", "if peak is not None:", "if False:", "check_missed"),
    ("checks/rules/learning_curve.py", "return len(tail) if fall", "return 0 if fall", "check_missed"),
    ("checks/rules/layout.py", "> CERTAIN", "> 1e9", "check_missed"),
    ("checks/probing/surroundings.py", "            tensor.data.copy_(values)", "            pass", "check_step"),
    ("checks/probing/surroundings.py", "            bound.append(functools.partial(setattr, cell", "            bool(functools.partial(setattr, cell", "check_step"),
    ("checks/probing/watched.py", "            self.now.lost += self.now.passes", "            pass", "check_step"),
    ("checks/probing/watched.py", "if name == \"scale\" and event == \"return\":", "if name == \"scale\" and event == \"none\":", "check_step"),
    ("checks/rules/step_loss.py", "        return t.targets[ran.rows]", "        return t.targets[: len(ran.rows)]", "check_step"),
    ("checks/rules/step_order.py", "    if not torch.equal(again.windows[0].gradient, window.gradient):", "    if torch.equal(again.windows[0].gradient, window.gradient):", "check_step"),
    ("checks/rules/optimizer_settings.py", "exploded = max(run.losses) > JUMP * start and run.grown > GROWN", "exploded = max(run.losses) > 2 * start", "check_settings"),
    ("checks/rules/optimizer_settings.py", "if run.moved > STILL or any(_later(group) > float(group[\"lr\"]) for group in groups):", "if run.moved > STILL:", "check_settings"),
    ("checks/rules/class_weight.py", "and abs(log_weight + ratio) > SURE * error", "", "check_settings"),
    ("explanation/statistics/clustered.py", "pulls = rests / (weights.sum() - weights)", "pulls = rests / weights.sum()", "figures"),
    ("explanation/statistics/clustered.py", "sizes.equal - 1, None", "sizes.number - 1.0, None", "figures"),
    ("explanation/statistics/sample.py", "squares / max(self.count, 2)", "squares / total", "figures"),
    ("explanation/statistics/sample.py", "if self._clusters is not None:\n            of_cells", "if False:\n            of_cells", "figures"),
    ("explanation/statistics/group_means.py", "    if group.parts is not None:\n        _, weight", "    if False:\n        _, weight", "figures"),
    ("explanation/statistics/verdict.py", "if around.low > worth:", "if False:", "figures"),
    ("explanation/statistics/verdict.py", "if line.p_value < A_SIGN else", "if False else", "figures"),
    ("explanation/sketch/points.py", "np.random.default_rng(self._cells.digest)", "np.random.default_rng(0)", "figures"),
    ("explanation/sketch/points.py", "for power in (2, 3)", "for power in (1, 1)", "figures"),
    ("explanation/sketch/cells.py", "for more in range(MOST_DROPPED - self._dropped):", "for more in [40 - self._dropped]:", "cells"),
    ("explanation/sketch/groups.py", 'state | {"first": self.places(other.names)[state["first"]]}', "state", "figures"),
    ("explanation/data/summarize.py", "estimate.interval.within(0.0, math.inf).holding", "estimate.interval.holding", "figures"),
    ("comparison/periods.py", "around_second, together))", "around_second))", "figures"),
    ("comparison/pairs.py", "clusters=clusters, parts=parts)", "clusters=clusters)", "figures"),
    ("explanation/explain.py", "if clusters is None and by_sample and count > samples:", "if False:", "clustered_slices"),
    ("explanation/slices/clustered.py", "C = 1 / (2 * math.erfc(1.0))", "C = 1 / 2", "clustered_slices"),
    ("explanation/slices/questions.py", "return alone if part.lanes is None else", "return alone if True else", "clustered_slices"),
    ("explanation/slices/questions.py", "differs &= (more > 0) & (clustered.surprise(more**2 / squares) > self.drop)", "pass", "clustered_slices"),
    ("explanation/slices/table.py", "return np.asarray(self.weight**2 / self._squares)", "return self.count", "slices"),
    ("explanation/slices/questions.py", "return np.minimum(low, least), np.maximum(high, most)", "return low, high", "clustered_slices"),
    ("explanation/slices/table.py", "or 1.0", "or 0.0", "clustered_slices"),
    ("cli/explain/run.py", "batch.features, batch.clusters)", "batch.features)", "clustered_slices"),
    ("table/ensemble/trainer.py", "if checkpointer.enabled and not self._ended:", "if signal:", "signals"),
    ("table/ensemble/trainer.py", "if checkpointer.enabled and not self._ended:", "if signal:", "signals"),
)
# fmt: on


def caught(file: str, old: str, new: str, where: str) -> bool:
    """Whether the tests in `test_{where}*.py` fail with `new` in place of `old`."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, Path(folder) / name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        path = Path(folder) / "src" / "torchbce" / file
        text = path.read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{file} has {text.count(old)} times: {old}")
        path.write_text(text.replace(old, new))
        environment = {**os.environ, "PYTHONPATH": f"{folder}/src", "TORCHBCE_CACHE": f"{folder}/cache"}
        if "cpp_node" in file:
            subprocess.run([sys.executable, "-m", "torchbce", "build"], cwd=folder, env=environment, check=True)
        files = sorted(Path(folder, "tests").rglob(f"test_{where}*.py"))
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-m", SELECTED, *map(str, files)]
        try:
            run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired:
            return True  # a deadlock does not pass
        if run.returncode not in (0, 1, -6, -11):  # passed, failed, died
            raise SystemExit(run.stdout + run.stderr)
        return run.returncode != 0


def main() -> None:
    missed = 0
    for file, old, new, where in MUTATIONS:
        found = caught(file, old, new, where)
        missed += not found
        print("caught" if found else "MISSED", file, "|", " ".join(new.split()), flush=True)
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} caught")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()

// Running the compiled passes on a call, as `numba_cpu.launch` does.

#pragma once

#include "call.h"

#include <torch/csrc/DynamicTypes.h>

#include <optional>

namespace {

// How compiled code names a dtype.
int64_t code_of(ScalarType dtype) {
  switch (dtype) {
    case at::kHalf: return TORCHBCE_CODE_FLOAT16;
    case at::kBFloat16: return TORCHBCE_CODE_BFLOAT16;
    case at::kFloat: return TORCHBCE_CODE_FLOAT32;
    case at::kDouble: return TORCHBCE_CODE_FLOAT64;
    case at::kBool: return TORCHBCE_CODE_BOOL;
    case at::kByte: return TORCHBCE_CODE_UINT8;
    case at::kChar: return TORCHBCE_CODE_INT8;
    case at::kShort: return TORCHBCE_CODE_INT16;
    case at::kInt: return TORCHBCE_CODE_INT32;
    case at::kLong: return TORCHBCE_CODE_INT64;
    default: return TORCHBCE_ABSENT;
  }
}

// A parameter as a `Formula` is compiled for it: an exponent that makes a product of a power is a digit.
char kind_of(const Call& call, int parameter) {
  const Along& along = call.parameters[parameter];
  const double number = along.kind == '-' ? call.plan->defaults[parameter] : along.number;
  const bool product = along.kind != 't' && call.plan->exponents[parameter] && number >= 0 &&
      number <= TORCHBCE_LARGEST_PRODUCT && number == std::floor(number);
  return product ? static_cast<char>('0' + static_cast<int>(number)) : 'n';
}

bool has_parameters(const Call& call) {
  return std::any_of(call.parameters.begin(), call.parameters.begin() + call.plan->parameters,
      [](const Along& along) { return along.kind != '-'; });
}

// Whether the pass without options takes a call.
bool is_plain_call(const Call& call, Result result) {
  const auto dtype = call.input.scalar_type();
  if (result != TOTAL || !call.plan->is_plain || call.weight.kind != '-') return false;
  if (dtype != call.target.scalar_type() || (dtype != at::kFloat && dtype != at::kDouble)) return false;
  for (int i = 0; i < call.plan->parameters; ++i)
    if (call.parameters[i].kind != '-' && kind_of(call, i) == 'n') return false;
  return true;
}

// The machine code for a call, which Python finds the first time.
Code find(const Call& call, bool is_plain) {
  Plan& plan = *call.plan;
  const bool wide = call.computed_in() == at::kDouble;
  std::string kinds;
  uint64_t key = is_plain * 2 + wide;
  for (int i = 0; i < plan.parameters; ++i) {
    const char kind = is_plain && call.parameters[i].kind == '-' ? '-' : kind_of(call, i);
    key = key << 3 | (kind == '-' ? 0 : kind == 'n' ? 1 : 2 + kind - '0');
    kinds += kind;
  }
  const int known = plan.known.load(std::memory_order_acquire);
  for (int i = 0; i < known; ++i)
    if (plan.passes[i].first == key) return plan.passes[i].second;

  pybind11::gil_scoped_acquire gil;
  const auto found = pybind11::handle(plan.owner).attr("addresses")(is_plain, wide, kinds);
  const auto [pass, formula] = found.cast<std::pair<int64_t, int64_t>>();
  const Code code{reinterpret_cast<Function>(pass), formula};
  const int count = plan.known.load();
  if (count < MOST_PASSES) {
    plan.passes[count] = {key, code};
    plan.known.store(count + 1, std::memory_order_release);
  }
  return code;
}

// The exactly rounded sum (Shewchuk 1997), as Python's math.fsum; with infinities and NaN, what they make of it.
double exact_sum(const std::vector<double>& values) {
  std::vector<double> parts;
  double plain = 0;
  for (double x : values) {
    plain += x;
    size_t kept = 0;
    for (double y : parts) {
      if (std::abs(x) < std::abs(y)) std::swap(x, y);
      const double high = x + y, low = y - (high - x);
      if (low != 0) parts[kept++] = low;
      x = high;
    }
    parts.resize(kept);
    parts.push_back(x);
  }
  if (!std::isfinite(plain) || parts.empty()) return plain;
  double high = parts.back(), low = 0;
  size_t n = parts.size() - 1;
  while (n > 0) {
    const double x = high, y = parts[--n];
    high = x + y;
    low = y - (high - x);
    if (low != 0) break;
  }
  if (n > 0 && ((low < 0 && parts[n - 1] < 0) || (low > 0 && parts[n - 1] > 0))) {  // half-way: the rest decides
    const double y = low * 2, x = high + y;
    if (y == x - high) high = x;
  }
  return high;
}

// Writes the options of a call, and its columns, as `numba_cpu.options` does.
void put_options(std::array<Word, WORDS>& words, const Call& call, Result result, const Code& code, const Tensor& out,
    const Along& grad_output) {
  const Plan& plan = *call.plan;
  const bool wide = call.computed_in() == at::kDouble, weighted = call.weight.kind != '-';
  words[TORCHBCE_OFFSET_FORMULA].i = code.formula;
  words[TORCHBCE_OFFSET_RESULT].i = result;
  words[TORCHBCE_OFFSET_BY_PRODUCT].i =
      result == TOTAL && plan.may_be_product && !wide && !weighted && !has_parameters(call);
  words[TORCHBCE_OFFSET_CHECKED].i = plan.checked;
  words[TORCHBCE_OFFSET_OUT_DTYPE].i = out.defined() ? code_of(out.scalar_type()) : TORCHBCE_ABSENT;
  words[TORCHBCE_OFFSET_TRANSFORMED].i = plan.transformed;
  words[TORCHBCE_OFFSET_THRESHOLD].d = plan.threshold;
  words[TORCHBCE_OFFSET_FACTOR].d = plan.factor;
  words[TORCHBCE_OFFSET_SHIFT].d = plan.shift;
  words[TORCHBCE_OFFSET_IGNORING].i = plan.ignoring;
  words[TORCHBCE_OFFSET_IGNORED].d = plan.ignored;
  words[TORCHBCE_OFFSET_CLASSES].i = 0;
  words[TORCHBCE_OFFSET_CLASS_INNER].i = 1;
  words[TORCHBCE_OFFSET_COLUMNS].i = TORCHBCE_COLUMNS + plan.parameters;
  Word* at = &words[TORCHBCE_FIRST_COLUMN];
  const auto put = [&](int64_t value, int64_t dtype, int64_t inner, int64_t period) {
    at[0].i = value, at[1].i = dtype, at[2].i = inner, at[3].i = period;
    at += TORCHBCE_COLUMN_SIZE;
  };
  const auto put_along = [&](const Along& along) {
    put(along.address, along.kind == 't' ? code_of(along.dtype) : TORCHBCE_ABSENT, along.inner, along.period);
  };
  const auto put_number = [&](double number) {
    put(0, TORCHBCE_NUMBER, 0, 0);
    at[-TORCHBCE_COLUMN_SIZE].d = number;
  };
  const int64_t items = call.input.numel();
  put(address(call.input, items), code_of(call.input.scalar_type()), 1, items);
  put(address(call.target, items), code_of(call.target.scalar_type()), 1, items);
  if (call.weight.kind == 'n') put_number(call.weight.number);
  else put_along(call.weight);
  put_along(grad_output);
  put(0, TORCHBCE_ABSENT, 0, 0);  // the mask
  for (int i = 0; i < plan.parameters; ++i) {
    const Along& along = call.parameters[i];
    if (along.kind == 't') put_along(along);
    else put_number(along.kind == 'n' ? along.number : plan.defaults[i]);
  }
}

// Runs a pass over all items, and adds the sums of its chunks.
double run(const Call& call, Result result, const Tensor& out, double scale, const Along& grad_output) {
  const int64_t items = call.input.numel(), chunks = (items + TORCHBCE_CHUNK - 1) / TORCHBCE_CHUNK;
  const bool is_plain = is_plain_call(call, result);
  const Code code = find(call, is_plain);
  std::array<Word, WORDS> words;
  std::vector<double> many(chunks > 1 ? chunks : 0);
  double one = 0;
  int64_t counter = 0;
  double* sums = chunks > 1 ? many.data() : &one;
  const int64_t piece = chunks >= 8 * TORCHBCE_PIECE ? TORCHBCE_PIECE : std::max<int64_t>(1, chunks / 16);
  words[TORCHBCE_OFFSET_INPUT].i = address(call.input, items);
  words[TORCHBCE_OFFSET_TARGET].i = address(call.target, items);
  words[TORCHBCE_OFFSET_OUT].i = out.defined() ? address(out, items) : 0;
  words[TORCHBCE_OFFSET_SUMS].i = reinterpret_cast<int64_t>(sums);
  words[TORCHBCE_OFFSET_NEXT_PIECE].i = reinterpret_cast<int64_t>(&counter);
  words[TORCHBCE_OFFSET_PIECE].i = piece;
  words[TORCHBCE_OFFSET_END].i = chunks;
  words[TORCHBCE_OFFSET_ITEMS].i = items;
  words[TORCHBCE_OFFSET_SCALE].d = scale;
  if (!is_plain) put_options(words, call, result, code, out, grad_output);
  if (chunks <= 1) {
    code.pass(words.data());
    return one;
  }
  const int64_t pieces = (chunks + piece - 1) / piece;
  const auto threads = static_cast<unsigned>(std::min<int64_t>(at::get_num_threads(), pieces));
  std::optional<pybind11::gil_scoped_release> released;
  if (PyGILState_Check()) released.emplace();
  if (threads > 1 && in_parallel != nullptr) in_parallel(code.pass, words.data(), threads, 0);
  else code.pass(words.data());
  return exact_sum(many);
}

// Memory for one number per item. Large blocks are kept between calls, by Python.
Tensor buffer(const Call& call, ScalarType dtype) {
  if (call.input.numel() * static_cast<int64_t>(c10::elementSize(dtype)) < TORCHBCE_LEAST)
    return at::detail::empty_strided_cpu(call.input.sizes(), call.input.strides(), dtype);
  pybind11::gil_scoped_acquire gil;
  const auto made = pybind11::handle(call.plan->owner).attr("buffer")(
      pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(call.input)),
      pybind11::reinterpret_borrow<pybind11::object>(reinterpret_cast<PyObject*>(torch::getTHPDtype(dtype))));
  return THPVariable_Unpack(made.ptr());
}

}  // namespace

// Running the compiled passes on a call, as `numba_cpu.launch` does.

#pragma once

#include "call.h"

#include <torch/csrc/DynamicTypes.h>

#include <optional>

namespace {

// As in a `Variant`: an exponent that makes a product of a power is a digit.
char kind_of(const Call& call, int parameter) {
  const Along& along = call.parameters[parameter];
  const double number = along.number;
  const bool product = along.kind == 'n' && call.plan->exponents[parameter] && number >= 0 &&
      number <= TORCHBCE_LARGEST_PRODUCT && number == std::floor(number);
  return product ? static_cast<char>('0' + static_cast<int>(number)) : along.kind;
}

// The compiled pass, which Python finds the first time.
Function find(const Call& call, Name name, ScalarType out, ScalarType grad_output) {
  Plan& plan = *call.plan;
  uint64_t key = name;
  for (const auto dtype : {call.input.scalar_type(), call.target.scalar_type(), out, call.weight.dtype, grad_output})
    key = key << 6 | (dtype == ScalarType::Undefined ? 63 : static_cast<uint64_t>(dtype));
  for (int i = 0; i < plan.parameters; ++i) {
    const char kind = kind_of(call, i);
    key = key << 3 | (kind == '-' ? 0 : kind == 't' ? 1 : kind == 'n' ? 2 : 3 + kind - '0');
  }
  const int known = plan.known.load(std::memory_order_acquire);
  for (int i = 0; i < known; ++i)
    if (plan.passes[i].first == key) return plan.passes[i].second;

  pybind11::gil_scoped_acquire gil;
  const auto dtype = [](ScalarType type) -> pybind11::object {
    if (type == ScalarType::Undefined) return pybind11::none();
    return pybind11::reinterpret_borrow<pybind11::object>(reinterpret_cast<PyObject*>(torch::getTHPDtype(type)));
  };
  std::string kinds;
  for (int i = 0; i < plan.parameters; ++i) kinds += kind_of(call, i);
  const auto address = pybind11::handle(plan.owner).attr("address")(
      NAMES[name], dtype(call.input.scalar_type()), dtype(call.target.scalar_type()), dtype(out),
      dtype(call.weight.dtype), dtype(grad_output), kinds);
  const auto function = reinterpret_cast<Function>(address.cast<int64_t>());
  const int count = plan.known.load();
  if (count < MOST_PASSES) {
    plan.passes[count] = {key, function};
    plan.known.store(count + 1, std::memory_order_release);
  }
  return function;
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

// Runs a pass over all items, and adds the sums of its chunks.
double run(const Call& call, Function function, const Tensor& out, double scale, const Along& grad_output) {
  const int64_t items = call.input.numel(), chunks = (items + TORCHBCE_CHUNK - 1) / TORCHBCE_CHUNK;
  std::array<Word, WORDS> words;
  const float narrow = static_cast<float>(call.weight.number);
  const void* number = call.weight.dtype == at::kDouble ? static_cast<const void*>(&call.weight.number) : &narrow;
  const bool by_number = call.weight.kind == 'n';
  const auto put = [&](int at, int64_t value) { words[at].i = value; };
  const auto put_double = [&](int at, double value) { words[at].d = value; };
  std::vector<double> many(chunks > 1 ? chunks : 0);
  double one = 0;
  int64_t counter = 0;
  double* sums = chunks > 1 ? many.data() : &one;
  const int64_t piece = chunks >= 8 * TORCHBCE_PIECE ? TORCHBCE_PIECE : std::max<int64_t>(1, chunks / 16);
  put(TORCHBCE_AT_INPUT, address(call.input, items));
  put(TORCHBCE_AT_TARGET, address(call.target, items));
  put(TORCHBCE_AT_WEIGHT, by_number ? reinterpret_cast<int64_t>(number) : call.weight.address);
  put(TORCHBCE_AT_GRAD_OUTPUT, grad_output.address);
  put(TORCHBCE_AT_OUT, out.defined() ? address(out, items) : 0);
  put(TORCHBCE_AT_SUMS, reinterpret_cast<int64_t>(sums));
  put(TORCHBCE_AT_NEXT_PIECE, reinterpret_cast<int64_t>(&counter));
  put(TORCHBCE_AT_PIECE, piece);
  put(TORCHBCE_AT_END, chunks);
  put(TORCHBCE_AT_ITEMS, items);
  put_double(TORCHBCE_AT_SCALE, scale);
  put(TORCHBCE_AT_MASK, 0);
  put(TORCHBCE_AT_WEIGHT_INNER, by_number ? items : call.weight.inner);
  put(TORCHBCE_AT_WEIGHT_PERIOD, call.weight.period);
  put(TORCHBCE_AT_GRAD_INNER, grad_output.inner);
  put(TORCHBCE_AT_GRAD_PERIOD, grad_output.period);
  put(TORCHBCE_AT_MASK_INNER, 1);
  put(TORCHBCE_AT_MASK_PERIOD, 1);
  put(TORCHBCE_AT_CLASS_INNER, 1);
  put(TORCHBCE_AT_CLASSES, 1);
  put_double(TORCHBCE_AT_THRESHOLD, call.plan->threshold);
  put_double(TORCHBCE_AT_FACTOR, call.plan->factor);
  put_double(TORCHBCE_AT_SHIFT, call.plan->shift);
  put_double(TORCHBCE_AT_IGNORED, call.plan->ignored);
  int at = TORCHBCE_PARAMETERS;
  for (int i = 0; i < call.plan->parameters; ++i) {
    const Along& along = call.parameters[i];
    if (along.kind == '-') continue;
    if (along.kind == 'n') put_double(at, along.number);
    else put(at, along.address);
    put(at + 1, along.inner);
    put(at + 2, along.period);
    at += 3;
  }
  if (chunks <= 1) {
    function(words.data());
    return one;
  }
  const int64_t pieces = (chunks + piece - 1) / piece;
  const auto threads = static_cast<unsigned>(std::min<int64_t>(at::get_num_threads(), pieces));
  std::optional<pybind11::gil_scoped_release> released;
  if (PyGILState_Check()) released.emplace();
  if (threads > 1 && in_parallel != nullptr) in_parallel(function, words.data(), threads, 0);
  else function(words.data());
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

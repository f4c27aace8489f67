// A call of a loss, and whether it is one that is made here: everything else is Python's.

#pragma once

#include <torch/csrc/autograd/python_variable.h>
#include <torch/extension.h>

#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/autocast_mode.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <deque>

namespace {

using at::ScalarType;
using at::Tensor;

union Word {
  int64_t i;
  double d;
};
using Function = void (*)(const Word*);
using InParallel = void (*)(Function, const Word*, unsigned threads, unsigned flags);

enum Reduction { NONE, MEAN, SUM };
enum Name { TOTAL, ITEMS, GRAD_INPUT };
constexpr const char* NAMES[] = {"total", "items", "grad_input"};
constexpr int MOST_PARAMETERS = 8, MOST_PASSES = 64, MOST_PLANS = 1024;
constexpr int64_t WORDS = TORCHBCE_PARAMETERS + 3 * MOST_PARAMETERS;
constexpr int64_t MOST_ITEMS = int64_t(TORCHBCE_CHUNK) * TORCHBCE_SLICE;  // above it, Python looks for Ctrl-C in between

InParallel in_parallel = nullptr;  // of the OpenMP that torch runs on; null after a fork, which it does not survive

// A loss with its reduction and those of its options that are numbers, and the passes that its calls have needed.
struct Plan {
  PyObject* owner;  // finds passes, and differentiates further
  Reduction reduction;
  bool checked;
  int parameters;
  std::vector<bool> exponents;  // which of the parameters
  double threshold, factor, shift, ignored;
  std::array<std::pair<uint64_t, Function>, MOST_PASSES> passes;
  std::atomic<int> known{0};  // of the passes; they are added under the GIL, and read without it
};
std::deque<Plan> plans;  // never freed: nodes name them by their number

// A weight or a parameter of the loss. A tensor repeats along the items: item i has values[(i / inner) % period].
struct Along {
  char kind = '-';  // '-' is absent, 'n' a number, 't' a tensor
  double number = 0;
  int64_t address = 0, inner = 1, period = 1;
  ScalarType dtype = ScalarType::Undefined;
  Tensor given, owner;  // as it came, and as it is read
};

// The arguments of a call.
struct Call {
  Plan* plan;
  Tensor input, target;
  Along weight;
  std::array<Along, MOST_PARAMETERS> parameters;

  ScalarType computed_in() const {
    return input.scalar_type() == at::kDouble || target.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  }
};

bool is_float(ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kDouble || dtype == at::kHalf || dtype == at::kBFloat16;
}

bool is_integer(ScalarType dtype) {
  return dtype == at::kBool || dtype == at::kByte || dtype == at::kChar || dtype == at::kShort || dtype == at::kInt ||
      dtype == at::kLong;
}

// Dense memory on the CPU that nothing wraps: no subclass, fake tensor, functorch level, negation or forward derivative.
bool is_plain(const Tensor& tensor) {
  static const c10::DispatchKeySet plain = at::detail::empty_cpu({0}, at::kFloat).key_set();
  return tensor.key_set() == plain && !tensor._fw_grad(0).defined();
}

bool is_readable(const Tensor& tensor) {
  return is_plain(tensor) && (is_float(tensor.scalar_type()) || is_integer(tensor.scalar_type()));
}

// Whether no mode, transform or tracer looks on. Autocast changes 16-bit tensors only.
bool is_unwatched(ScalarType dtype) {
  const auto keys = c10::impl::tls_local_dispatch_key_set();
  const bool half = dtype == at::kHalf || dtype == at::kBFloat16;
  return keys.included_ == c10::default_included_set &&
      (keys.excluded_ | c10::autocast_dispatch_keyset) == (c10::default_excluded_set | c10::autocast_dispatch_keyset) &&
      !at::impl::torch_function_mode_enabled() && !(half && at::autocast::is_autocast_enabled(at::kCPU));
}

// Whether both have their items in the same order, without gaps.
bool lies_alike(const Tensor& input, const Tensor& target) {
  return input.sizes() == target.sizes() && input.strides() == target.strides() && input.is_non_overlapping_and_dense();
}

// Where memory begins that is `items` plain numbers one after another: compiled code is given nothing else.
int64_t address(const Tensor& tensor, int64_t items) {
  const bool lies_so = items == 1 ? tensor.numel() > 0 : tensor.numel() == items && tensor.is_non_overlapping_and_dense();
  TORCH_CHECK(lies_so && is_plain(tensor), "compiled code needs ", items, " numbers one after another, got a tensor of ",
      tensor.sizes(), " with strides ", tensor.strides(), "; this is a fault of torchbce, please report it");
  return reinterpret_cast<int64_t>(tensor.const_data_ptr());
}

// A tensor of weights along the items of the input; false where it is not mine.
bool place(const Tensor& tensor, const Call& call, bool is_weight, Along& along) {
  const Tensor& input = call.input;
  const ScalarType computed = call.computed_in();
  const int64_t own = tensor.numel(), n = input.numel();
  if (!is_readable(tensor) || tensor.requires_grad() || own == 0 || tensor.dim() > input.dim()) return false;
  along.given = tensor;
  if (own == 1 && !is_weight) {
    along.kind = 'n';
    along.number = tensor.scalar_type() == at::kFloat ? *tensor.const_data_ptr<float>() : tensor.item<double>();
    return true;
  }
  if (own == 1) {
    along.inner = n;
  } else {
    const bool items = tensor.sizes() == input.sizes() && tensor.strides() == input.strides();
    const bool rows = tensor.is_contiguous() && input.is_contiguous() &&
        tensor.sizes() == input.sizes().slice(input.dim() - tensor.dim());
    if (!items && !rows) return false;
    along.period = own;
  }
  along.kind = 't';
  along.owner = is_weight ? tensor : tensor.to(computed);
  along.dtype = along.owner.scalar_type();
  along.address = address(along.owner, along.period);
  return true;
}

void place(double number, const Call& call, Along& along) {
  along.kind = 'n';
  along.number = number;
  along.dtype = call.computed_in();
}

bool place(PyObject* object, const Call& call, bool is_weight, Along& along) {
  if (object == Py_None) return true;
  if (PyFloat_CheckExact(object)) return place(PyFloat_AS_DOUBLE(object), call, along), true;
  if (PyLong_CheckExact(object)) {
    place(PyLong_AsDouble(object), call, along);
    const bool too_large = PyErr_Occurred() != nullptr;
    if (too_large) PyErr_Clear();
    return !too_large;
  }
  return THPVariable_CheckExact(object) && place(THPVariable_Unpack(object), call, is_weight, along);
}

// Whether a call is mine: two plain tensors alike, of dtypes that have kernels and need no conversion.
bool is_mine(const Tensor& input, const Tensor& target) {
  const auto dtype = input.scalar_type(), of_target = target.scalar_type();
  const int64_t items = input.numel();
  return is_float(dtype) && (dtype == of_target || is_integer(of_target)) && is_plain(input) && is_plain(target) &&
      lies_alike(input, target) && items > 0 && items <= MOST_ITEMS &&
      (items <= TORCHBCE_CHUNK || in_parallel != nullptr || at::get_num_threads() == 1) &&
      !(target.requires_grad() && torch::GradMode::is_enabled()) && is_unwatched(dtype);
}

}  // namespace

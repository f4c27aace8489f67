// A call of a loss without Python in between: what `compute` and `numba_cpu.launch` do, for the calls that most scripts
// make. It looks whether this is such a call, runs the compiled pass, and leaves a node in autograd's graph.
//
// Everything else is "not mine": `call` returns None, and Python goes on. The places of a pass's arguments, TORCHBCE_AT_...,
// and the sizes of its work come from the Python sources as macros, so that both agree.

#include "passes.h"

#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/engine.h>

#include <ATen/SavedTensorHooks.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor number(double value, ScalarType dtype) {
  Tensor result = at::detail::empty_cpu({}, dtype);
  if (dtype == at::kFloat) *result.mutable_data_ptr<float>() = static_cast<float>(value);
  else if (dtype == at::kDouble) *result.mutable_data_ptr<double>() = value;
  else if (dtype == at::kHalf) *result.mutable_data_ptr<at::Half>() = static_cast<float>(value);
  else *result.mutable_data_ptr<at::BFloat16>() = static_cast<float>(value);
  return result;
}

// The sum, and the gradient of a mean or a sum times `factor` if there is memory for it.
double total(const Call& call, double factor, Tensor* grad) {
  const auto dtype = call.input.scalar_type();
  const Function function = find(call, TOTAL, grad == nullptr ? ScalarType::Undefined : dtype, ScalarType::Undefined);
  if (grad != nullptr) *grad = buffer(call, dtype);
  if (call.plan->reduction == MEAN) factor /= static_cast<double>(call.input.numel());
  return run(call, function, grad == nullptr ? Tensor() : *grad, factor, Along());
}

// The value, and its gradient if there is memory for it; undefined for a value that Python has to look at.
Tensor compute(const Call& call, Tensor* grad) {
  const auto dtype = call.input.scalar_type();
  if (call.plan->reduction == NONE) {
    const Function function = find(call, ITEMS, dtype, ScalarType::Undefined);
    Tensor value = buffer(call, dtype);
    const double marks = run(call, function, value, 1.0, Along());
    return call.plan->checked && std::isnan(marks) ? Tensor() : value;
  }
  double value = total(call, 1.0, grad);
  if (call.plan->checked && std::isnan(value)) return Tensor();
  if (call.plan->reduction == MEAN) value /= static_cast<double>(call.input.numel());
  return number(value, dtype);
}

// The gradient of every item's loss times `grad_output`, which has the shape of the input.
Tensor grad_of_items(const Call& call, const Tensor& grad_output) {
  Tensor incoming = grad_output;
  Along along;
  const auto strides = incoming.strides();
  if (std::all_of(strides.begin(), strides.end(), [](int64_t stride) { return stride == 0; })) {
    along.inner = call.input.numel();
  } else {
    if (strides != call.input.strides()) {
      incoming = at::detail::empty_strided_cpu(call.input.sizes(), call.input.strides(), grad_output.scalar_type());
      incoming.copy_(grad_output);
    }
    along.period = call.input.numel();
  }
  along.dtype = incoming.scalar_type();
  along.address = address(incoming, along.period);
  const Function function = find(call, GRAD_INPUT, call.input.scalar_type(), along.dtype);
  Tensor grad = buffer(call, call.input.scalar_type());
  run(call, function, grad, 1.0, along);
  return grad;
}

// The gradient as operations that can be differentiated further.
Tensor grad_by_reference(const Call& call, const Tensor& grad_output) {
  pybind11::gil_scoped_acquire gil;
  const auto object = [](const Along& along) -> pybind11::object {
    if (along.given.defined()) return pybind11::cast(along.given);
    if (along.kind == 'n') return pybind11::float_(along.number);
    return pybind11::none();
  };
  pybind11::list parameters;
  for (int i = 0; i < call.plan->parameters; ++i) parameters.append(object(call.parameters[i]));
  return pybind11::handle(call.plan->owner)
      .attr("grad")(call.input, call.target, object(call.weight), parameters, grad_output)
      .cast<Tensor>();
}

// What a node knows of its call besides the saved tensors: bits of one integer, which compiled autograd can handle.
constexpr int64_t PLAN = MOST_PLANS - 1;  // the number of the plan
constexpr int TENSORS = 16, NUMBERS = 32;  // from this bit on: the weight and the parameters that are such
constexpr int64_t HOOKED = int64_t(1) << 48, HAS_GRAD = int64_t(1) << 49;

struct BinaryCrossEntropy : torch::autograd::Function<BinaryCrossEntropy> {
  static Tensor forward(AutogradContext* ctx, const Tensor& input, const Call* call, int64_t plan) {
    Tensor grad;
    const bool reduced = call->plan->reduction != NONE;
    Tensor value = compute(*call, reduced ? &grad : nullptr);
    if (!value.defined()) throw NotAllowed();
    variable_list saved{input, call->target};
    std::vector<double> numbers;
    int64_t code = plan;
    const auto save = [&](const Along& along, int place) {
      if (along.given.defined()) {
        saved.push_back(along.given);
        code |= int64_t(1) << (TENSORS + place);
      } else if (along.kind == 'n') {
        numbers.push_back(along.number);
        code |= int64_t(1) << (NUMBERS + place);
      }
    };
    save(call->weight, 0);
    for (int i = 0; i < call->plan->parameters; ++i) save(call->parameters[i], 1 + i);
    if (reduced) {
      saved.push_back(std::move(grad));
      code |= HAS_GRAD | (at::SavedTensorDefaultHooks::is_enabled() && at::SavedTensorDefaultHooks::get_hooks() ? HOOKED : 0);
    }
    ctx->saved_data["call"] = code;
    if (!numbers.empty()) ctx->saved_data["numbers"] = std::move(numbers);
    ctx->save_for_backward(std::move(saved));
    return value;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor& grad_output = grads[0];
    const variable_list saved = ctx->get_saved_variables();  // raises where one was changed since forward
    const int64_t code = ctx->saved_data["call"].toInt();
    Tensor grad = code & HAS_GRAD ? saved.back() : Tensor();
    const bool transformed = torch::GradMode::is_enabled() || !is_plain(grad_output) || !is_unwatched(at::kFloat);
    if (!transformed && grad.defined()) {
      // Given away, unless it is needed again or a hook may hold it: its new owner may change it.
      const bool alone = !(code & HOOKED) && !torch::autograd::get_current_graph_task_keep_graph();
      const double factor = grad_output.item<double>();
      if (factor == 1.0) return {alone ? grad : grad.clone(), Tensor(), Tensor()};
      if (c10::elementSize(grad.scalar_type()) > 2) {  // 16-bit numbers would be rounded twice, or lost to underflow
        return {alone ? grad.mul_(factor) : grad.mul(factor), Tensor(), Tensor()};
      }
    }
    Call call{&plans[code & PLAN], saved[0], saved[1]};
    const bool placed = restore(call, code, saved, ctx);
    if (transformed || !placed) return {grad_by_reference(call, grad_output), Tensor(), Tensor()};
    if (!grad.defined()) return {grad_of_items(call, grad_output), Tensor(), Tensor()};
    total(call, grad_output.item<double>(), &grad);
    return {grad, Tensor(), Tensor()};
  }

  struct NotAllowed {};

  // The weight and the parameters; false where hooks have changed how they lie.
  static bool restore(Call& call, int64_t code, const variable_list& saved, AutogradContext* ctx) {
    const auto numbers = ctx->saved_data.find("numbers");
    size_t tensor = 2, number = 0;
    bool placed = lies_alike(call.input, call.target);
    for (int slot = 0; slot <= call.plan->parameters; ++slot) {
      Along& along = slot == 0 ? call.weight : call.parameters[slot - 1];
      if (code >> (TENSORS + slot) & 1) {
        along.given = saved[tensor++];
        placed = place(along.given, call, slot == 0, along) && placed;
      } else if (code >> (NUMBERS + slot) & 1) {
        place(numbers->second.toDoubleVector()[number++], call, along);
      }
    }
    return placed;
  }
};

// call(plan, input, target, weight, *parameters): the loss, or None where it is not mine.
PyObject* call(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  const int64_t number = PyLong_AsLong(arguments[0]);
  if (!THPVariable_CheckExact(arguments[1]) || !THPVariable_CheckExact(arguments[2])) Py_RETURN_NONE;
  Call call{&plans[number], THPVariable_Unpack(arguments[1]), THPVariable_Unpack(arguments[2])};
  if (!is_mine(call.input, call.target)) Py_RETURN_NONE;
  if (!place(arguments[3], call, true, call.weight)) Py_RETURN_NONE;
  for (int i = 0; i < call.plan->parameters; ++i)
    if (!place(arguments[4 + i], call, false, call.parameters[i])) Py_RETURN_NONE;
  if (!(call.input.requires_grad() && torch::GradMode::is_enabled())) {
    Tensor value = compute(call, nullptr);
    if (!value.defined()) Py_RETURN_NONE;
    return THPVariable_Wrap(std::move(value));
  }
  try {
    return THPVariable_Wrap(BinaryCrossEntropy::apply(call.input, static_cast<const Call*>(&call), number));
  } catch (const BinaryCrossEntropy::NotAllowed&) {
    Py_RETURN_NONE;
  }
  END_HANDLE_TH_ERRORS
}

// takes(input, target, *weights): whether such a call is mine.
bool takes(const Tensor& input, const Tensor& target, const pybind11::args& weights) {
  Call call{nullptr, input, target};
  Along along;
  return is_mine(input, target) && std::all_of(weights.begin(), weights.end(), [&](pybind11::handle weight) {
    return place(weight.ptr(), call, true, along);
  });
}

// plan(owner, reduction, checked, exponents, [threshold, factor, shift, ignored]): its number; -1 where there are too many.
int64_t plan(
    pybind11::object owner, int reduction, bool checked, std::vector<bool> exponents, std::array<double, 4> numbers) {
  if (plans.size() >= MOST_PLANS || exponents.size() > MOST_PARAMETERS) return -1;
  Plan& made = plans.emplace_back();
  made.owner = owner.release().ptr();
  made.reduction = static_cast<Reduction>(reduction);
  made.checked = checked;
  made.parameters = static_cast<int>(exponents.size());
  made.exponents = std::move(exponents);
  made.threshold = numbers[0], made.factor = numbers[1], made.shift = numbers[2], made.ignored = numbers[3];
  return static_cast<int64_t>(plans.size()) - 1;
}

PyMethodDef methods[] = {
    {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("plan", &plan);
  module.def("takes", &takes);
  module.def("set_parallel", [](int64_t address) { in_parallel = reinterpret_cast<InParallel>(address); });
  PyModule_AddFunctions(module.ptr(), methods);
}

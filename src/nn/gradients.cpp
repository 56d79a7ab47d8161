#include "nn/gradients.h"

#include "base/error.h"
#include "base/torch_autograd.h"
#include "nn/kernels/kernels.h"

namespace lorikeet {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
template <class Node>
using Function = torch::autograd::Function<Node>;

void no_second_derivative() {
  if (!torch::GradMode::is_enabled()) return;
  throw Error(ErrorKind::unsupported, "the CPU kernels' gradients cannot be differentiated again", "call backward without create_graph");
}

// A gradient in the dtype of what it belongs to; undefined stays so.
Tensor as_type(const Tensor& gradient, Dtype dtype) { return gradient.defined() ? gradient.to(dtype) : gradient; }

struct AttentionNode : Function<AttentionNode> {
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, double scale,
                        bool causal) {
    const auto result = kernels::attention_with_lse({q, k, v, heads, scale, causal});
    context->save_for_backward({q, k, v, result.out, result.lse});
    context->saved_data["heads"] = heads;
    context->saved_data["scale"] = scale;
    context->saved_data["causal"] = causal;
    return result.out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    no_second_derivative();
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const bool wants_kv = context->needs_input_grad(1) || context->needs_input_grad(2);
    auto result = kernels::attention_backward(
        {saved[0], saved[1], saved[2], data["heads"].toInt(), data["scale"].toDouble(), data["causal"].toBool()}, {saved[3], saved[4]},
        gradients[0], context->needs_input_grad(0), wants_kv);
    return {result.dq, result.dk, result.dv, {}, {}, {}};
  }
};

struct GroupNormNode : Function<GroupNormNode> {
  // shift is absent, not undefined: libtorch cannot note an undefined input.
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const c10::optional<Tensor>& shift, int64_t groups, double eps, bool silu) {
    const auto result = kernels::group_norm_with_statistics(x, {groups, weight, bias, eps, silu, shift.value_or(Tensor())});
    context->save_for_backward({x, weight, bias, shift.value_or(Tensor()), result.statistics});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["silu"] = silu;
    return result.y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    no_second_derivative();
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &shift = saved[3];
    auto& data = context->saved_data;
    const kernels::GroupNorm norm{data["groups"].toInt(), weight, bias, data["eps"].toDouble(), data["silu"].toBool(), shift};
    const auto wants = [context](size_t input) { return context->needs_input_grad(input); };
    const auto result =
        kernels::group_norm_backward(gradients[0], x, saved[4], norm, {wants(0), wants(1), wants(2), shift.defined() && wants(3)});
    return {result.dx,
            as_type(result.dweight, weight.scalar_type()),
            as_type(result.dbias, bias.scalar_type()),
            shift.defined() ? as_type(result.dshift, shift.scalar_type()) : Tensor(),
            {},
            {},
            {}};
  }
};

struct LayerNormNode : Function<LayerNormNode> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
    context->save_for_backward({x, weight});
    context->saved_data["eps"] = eps;
    context->saved_data["bias_dtype"] = bias.scalar_type();
    return kernels::layer_norm(x, weight, bias, eps);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    no_second_derivative();
    const auto saved = context->get_saved_variables();
    const bool wants_weight = context->needs_input_grad(1), wants_bias = context->needs_input_grad(2);
    const auto result = kernels::layer_norm_backward(gradients[0], saved[0], saved[1], context->saved_data["eps"].toDouble(),
                                                     context->needs_input_grad(0), wants_weight || wants_bias);
    return {result.dx,
            wants_weight ? as_type(result.dweight, saved[1].scalar_type()) : Tensor(),
            wants_bias ? as_type(result.dbias, context->saved_data["bias_dtype"].toScalarType()) : Tensor(),
            {}};
  }
};

// A function of one tensor whose gradient needs only that tensor.
template <Tensor (*Forward)(const Tensor&), Tensor (*Backward)(const Tensor& dy, const Tensor& x)>
struct UnaryNode : Function<UnaryNode<Forward, Backward>> {
  static Tensor forward(AutogradContext* context, const Tensor& x) {
    context->save_for_backward({x});
    return Forward(x);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    no_second_derivative();
    return {Backward(gradients[0], context->get_saved_variables()[0])};
  }
};

struct UpsampleNode : Function<UpsampleNode> {
  static Tensor forward(AutogradContext*, const Tensor& x) { return kernels::upsample_nearest2x(x); }
  static variable_list backward(AutogradContext*, variable_list gradients) {
    no_second_derivative();
    return {kernels::upsample_nearest2x_backward(gradients[0])};
  }
};

struct ConcatNode : Function<ConcatNode> {
  static Tensor forward(AutogradContext* context, const Tensor& a, const Tensor& b) {
    context->saved_data["channels"] = a.size(1);
    return kernels::concat_channels(a, b);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    no_second_derivative();
    const int64_t first = context->saved_data["channels"].toInt();
    const Tensor& dy = gradients[0];
    return {context->needs_input_grad(0) ? kernels::take_channels(dy, 0, first) : Tensor(),
            context->needs_input_grad(1) ? kernels::take_channels(dy, first, dy.size(1) - first) : Tensor()};
  }
};

}  // namespace

bool kernels_take(const Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == torch::kFloat || x.scalar_type() == torch::kBFloat16);
}

bool wants_gradients(at::TensorList tensors) {
  return torch::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return x.defined() && x.requires_grad(); });
}

Tensor group_norm_with_gradients(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps, bool silu,
                                 const Tensor& shift) {
  if (!kernels_take(x)) {
    const Dtype dtype = x.scalar_type();
    const Tensor shifted = shift.defined() ? x + shift.to(dtype).unsqueeze(-1).unsqueeze(-1) : x;
    const Tensor y = torch::group_norm(shifted, groups, weight.to(dtype), bias.to(dtype), eps);
    return silu ? torch::silu(y) : y;
  }
  if (!wants_gradients({x, weight, bias, shift})) return kernels::group_norm(x, groups, weight, bias, eps, silu, shift);
  return GroupNormNode::apply(x, weight, bias, shift.defined() ? c10::optional<Tensor>(shift) : c10::nullopt, groups, eps, silu);
}

Tensor layer_norm_with_gradients(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  if (!kernels_take(x)) {
    return torch::layer_norm(x, {x.size(-1)}, weight.to(x.scalar_type()), bias.to(x.scalar_type()), eps);
  }
  if (!wants_gradients({x, weight, bias})) return kernels::layer_norm(x, weight, bias, eps);
  return LayerNormNode::apply(x, weight, bias, eps);
}

Tensor attention_with_gradients(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, double scale, bool causal) {
  return AttentionNode::apply(q, k.to(q.scalar_type()), v.to(q.scalar_type()), heads, scale, causal);
}

Tensor geglu_with_gradients(const Tensor& x) { return UnaryNode<kernels::geglu, kernels::geglu_backward>::apply(x); }
Tensor silu_with_gradients(const Tensor& x) { return UnaryNode<kernels::silu, kernels::silu_backward>::apply(x); }
Tensor gelu_with_gradients(const Tensor& x) { return UnaryNode<kernels::gelu, kernels::gelu_backward>::apply(x); }
Tensor quick_gelu_with_gradients(const Tensor& x) { return UnaryNode<kernels::quick_gelu, kernels::quick_gelu_backward>::apply(x); }
Tensor upsample_nearest2x_with_gradients(const Tensor& x) { return UpsampleNode::apply(x); }
Tensor concat_channels_with_gradients(const Tensor& a, const Tensor& b) { return ConcatNode::apply(a, b.to(a.scalar_type())); }

}  // namespace lorikeet

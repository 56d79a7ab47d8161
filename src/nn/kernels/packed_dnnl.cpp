#include "nn/kernels/packed_dnnl.h"

#if !defined(LORIKEET_DNNL)
namespace lorikeet::kernels {
std::shared_ptr<const PackedLinear> make_dnnl_linear(const Tensor&, const Tensor&) { return nullptr; }
std::shared_ptr<const PackedConv2d> make_dnnl_conv2d(const Tensor&, const Tensor&, int, int) { return nullptr; }
}  // namespace lorikeet::kernels
#else
#include <dnnl.hpp>
#include <mutex>

#include "base/error.h"

namespace lorikeet::kernels {
namespace {

using Dims = dnnl::memory::dims;
using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream own(engine());
  return own;
}

dnnl::memory::data_type type_of(const Tensor& x) {
  return x.scalar_type() == torch::kBFloat16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory wrap(const Desc& desc, const Tensor& x) { return dnnl::memory(desc, engine(), x.data_ptr()); }

enum class Direction { forward, forward_accumulate, input_gradient };

// A primitive with what it wants to be given: of the two ends of the operation, `source` is read and `result` written, whichever way it
// runs. Making one compiles machine code (10–20 ms), so it is kept per shape of input; oneDNN's own cache shares the code between layers
// of one shape.
struct Call {
  dnnl::primitive primitive;
  Desc source, weight, result, scratch;
};

// What oneDNN would do, before anything is compiled.
struct Plan {
  std::string kernel;
  Desc weight;
  std::function<Call()> compile;
};

template <class Primitive>
Plan plan_of(const typename Primitive::primitive_desc& pd) {
  return {pd.impl_info_str(), pd.weights_desc(), [pd] {
            return Call{Primitive(pd), pd.src_desc(), pd.weights_desc(), pd.dst_desc(), pd.scratchpad_desc()};
          }};
}

template <class Primitive>
Plan gradient_plan_of(const typename Primitive::primitive_desc& pd) {
  return {pd.impl_info_str(), pd.weights_desc(), [pd] {
            return Call{Primitive(pd), pd.diff_dst_desc(), pd.weights_desc(), pd.diff_src_desc(), pd.scratchpad_desc()};
          }};
}

// y (+)= op(x): a residual is copied to where the result goes and added by oneDNN before it rounds. (Its "binary" post-operation,
// which needs no copy, has no fast kernel in oneDNN 2.6.)
dnnl::primitive_attr attributes(Direction direction) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (direction == Direction::forward_accumulate) {
    dnnl::post_ops after;
    after.append_sum(1.0f);
    attributes.set_post_ops(after);
  }
  return attributes;
}

// A weight in some layout.
struct Laid {
  Tensor weight;
  Desc layout;
};

#if DNNL_VERSION_MAJOR >= 3
bool is_padded(const Desc& layout) { return layout.get_padded_dims() != layout.get_dims(); }

// For each dimension the places of its indices: the element (i, j, …) lies at the sum of places[0][i], places[1][j], … (oneDNN's guide,
// "Understanding Memory Formats": whole blocks by the strides, then the inner blocks from the outermost to the innermost).
std::vector<std::vector<int64_t>> places_of(const Desc& layout) {
  const Dims dims = layout.get_dims(), strides = layout.get_strides(), blocks = layout.get_inner_blks(), block_of = layout.get_inner_idxs();
  std::vector<std::vector<int64_t>> places;
  for (size_t d = 0; d < dims.size(); ++d) {
    int64_t block = 1, inner = 1;
    for (size_t b = 0; b < blocks.size(); ++b) {
      inner *= blocks[b];
      if (block_of[b] == static_cast<int64_t>(d)) block *= blocks[b];
    }
    std::vector<int64_t>& of_dimension = places.emplace_back();
    for (int64_t i = 0; i < dims[d]; ++i) {
      int64_t place = i / block * strides[d], rest = i % block, within = block, stride = inner;
      for (size_t b = 0; b < blocks.size(); ++b) {
        stride /= blocks[b];
        if (block_of[b] != static_cast<int64_t>(d)) continue;
        within /= blocks[b];
        place += rest / within * stride;
        rest %= within;
      }
      of_dimension.push_back(place);
    }
  }
  places.resize(4, {0});
  return places;
}

// The slow way. For layouts with padding alone, which oneDNN 3.7's own reorder gets wrong (rows of a 64-wide block that is filled by half
// are lost); the models' large layers have none.
template <class Element>
Laid copied_as(const Desc& wanted, const Laid& weight) {
  const Laid copy{at::zeros({static_cast<int64_t>(wanted.get_size())}, at::TensorOptions().dtype(torch::kByte)), wanted};
  const auto* from = static_cast<const Element*>(weight.weight.data_ptr());
  auto* to = static_cast<Element*>(copy.weight.data_ptr());
  const auto source = places_of(weight.layout), target = places_of(wanted);
  for (size_t i = 0; i < source[0].size(); ++i)
    for (size_t j = 0; j < source[1].size(); ++j)
      for (size_t k = 0; k < source[2].size(); ++k)
        for (size_t l = 0; l < source[3].size(); ++l)
          to[target[0][i] + target[1][j] + target[2][k] + target[3][l]] = from[source[0][i] + source[1][j] + source[2][k] + source[3][l]];
  return copy;
}
#endif

Tensor byte_buffer(size_t bytes) { return at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions().dtype(torch::kByte)); }

// What is the same for both operations: the one packed weight, and one primitive per shape of input. The weight stays as it is packed
// for as long as oneDNN's best kernel takes it; a shape that wants another kernel (rare: a VAE's convolution at another size of
// picture) has it packed anew, because two copies would cost more memory than that takes time.
// The gradient of a linear takes the forward's packing as it is. That of a convolution wants another one, which is made for the call: on
// the U-Net of SD1.5 all of them together take 0.1 s in bfloat16 (Zen 4, 2 cores), to keep them 1.1 GB.
class Packed {
 public:
  Packed(const Tensor& weight, const Tensor& bias) : type_(type_of(weight)), bias_(bias.defined() ? bias.contiguous() : bias) {
    if (bias_.defined()) bias_desc_ = Desc({bias_.numel()}, dnnl::memory::data_type::f32, Tag::x);
  }
  virtual ~Packed() = default;

 protected:
  // The operation for inputs of these dims; throws dnnl::error where oneDNN has no kernel.
  virtual Plan plan(const Dims& input, const Desc& weight, Direction direction) const = 0;

  // weight: laid out as `plain`.
  void pack_first(const Tensor& weight, const Desc& plain, const Desc& any, const Dims& typical_input) {
    any_ = any;
    weight_ = {weight, plain};
    repack(plan(typical_input, any, Direction::forward).weight);
  }

  // y holds the residual already where `accumulate`.
  void run(const Dims& input, const Tensor& x, const Tensor& y, bool accumulate) const {
    execute(input, accumulate ? Direction::forward_accumulate : Direction::forward, x, y);
  }
  void run_gradient(const Dims& input, const Tensor& dy, const Tensor& dx) const { execute(input, Direction::input_gradient, dy, dx); }

  dnnl::memory::data_type type() const { return type_; }
  Dtype dtype() const { return type_ == dnnl::memory::data_type::bf16 ? torch::kBFloat16 : torch::kFloat; }
  const Desc& bias_desc() const { return bias_desc_; }

  // A fresh result, holding the residual if there is one.
  Tensor result(const Shape& shape, const Tensor& residual, at::MemoryFormat format) const {
    const Tensor y = at::empty(shape, at::TensorOptions().dtype(dtype()), format);
    if (!residual.defined()) return y;
    if (residual.sizes() != y.sizes()) {
      throw Error(ErrorKind::internal, "a residual of " + lorikeet::to_string(residual.sizes()) + " does not fit the result " + lorikeet::to_string(y.sizes()));
    }
    return y.copy_(residual);
  }

 private:
  static Laid packed_as(const Desc& wanted, const Laid& weight) {
#if DNNL_VERSION_MAJOR >= 3
    if (is_padded(wanted) || is_padded(weight.layout))
      return wanted.get_data_type() == dnnl::memory::data_type::f32 ? copied_as<float>(wanted, weight) : copied_as<at::BFloat16>(wanted, weight);
#endif
    const Laid packed{byte_buffer(wanted.get_size()), wanted};
    dnnl::memory from = wrap(weight.layout, weight.weight), to = wrap(wanted, packed.weight);
    dnnl::reorder(from, to).execute(stream(), from, to);
    stream().wait();
    return packed;
  }

  void repack(const Desc& wanted) const {
    weight_ = packed_as(wanted, weight_);
    calls_.clear();
  }

  void execute(const Dims& input, Direction direction, const Tensor& from, const Tensor& to) const {
    auto [call, weight] = call_for(input, direction);
    if (call->weight != weight.layout) weight = packed_as(call->weight, weight);
    const bool forward = direction != Direction::input_gradient;
    const Tensor scratch = byte_buffer(call->scratch.get_size());
    std::unordered_map<int, dnnl::memory> arguments{{forward ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, wrap(call->source, from)},
                                                    {DNNL_ARG_WEIGHTS, wrap(call->weight, weight.weight)},
                                                    {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, wrap(call->result, to)},
                                                    {DNNL_ARG_SCRATCHPAD, wrap(call->scratch, scratch)}};
    if (forward && bias_.defined()) arguments.emplace(DNNL_ARG_BIAS, wrap(bias_desc_, bias_));
    call->primitive.execute(stream(), arguments);
    stream().wait();
  }

  // With the weight as it was when the call was planned, should another thread repack meanwhile.
  std::pair<std::shared_ptr<const Call>, Laid> call_for(const Dims& input, Direction direction) const {
    const std::lock_guard lock(mutex_);
    const std::pair key(input, direction);
    if (const auto known = calls_.find(key); known != calls_.end()) return {known->second, weight_};
    try {
      Plan best = plan(input, any_, direction);
      if (best.weight != weight_.layout) {
        if (Plan kept = plan(input, weight_.layout, direction); kept.kernel == best.kernel) {
          best = std::move(kept);
        } else if (direction != Direction::input_gradient) {
          repack(best.weight);
        }
      }
      return {calls_[key] = std::make_shared<const Call>(best.compile()), weight_};
    } catch (const dnnl::error& error) {
      throw Error(ErrorKind::internal, std::string("oneDNN has no kernel for an input of ") + lorikeet::to_string(input) + ": " + error.message);
    }
  }

  dnnl::memory::data_type type_;
  Tensor bias_;
  Desc bias_desc_, any_;
  mutable std::mutex mutex_;
  mutable Laid weight_;
  mutable std::map<std::pair<Dims, Direction>, std::shared_ptr<const Call> > calls_;
};

class DnnlLinear : public PackedLinear, private Packed {
 public:
  DnnlLinear(const Tensor& weight, const Tensor& bias) : Packed(weight, bias), in_(weight.size(1)), out_(weight.size(0)) {
    const Dims dims{out_, in_};
    pack_first(weight.contiguous(), Desc(dims, type(), Tag::ab), Desc(dims, type(), Tag::any), {kTypicalRows, in_});
  }

  Tensor operator()(const Tensor& x_any, const Tensor& residual) const override {
    const Tensor x = x_any.to(dtype()).contiguous();
    Shape shape = x.sizes().vec();
    shape.back() = out_;
    const Tensor y = result(shape, residual, at::MemoryFormat::Contiguous);
    if (y.numel() != 0) run({x.numel() / in_, in_}, x, y, residual.defined());
    return y;
  }

  Tensor input_gradient(const Tensor& dy_any) const override {
    const Tensor dy = dy_any.to(dtype()).contiguous();
    Shape shape = dy.sizes().vec();
    shape.back() = in_;
    const Tensor dx = result(shape, {}, at::MemoryFormat::Contiguous);
    if (dx.numel() != 0) run_gradient({dy.numel() / out_, in_}, dy, dx);
    return dx;
  }

 private:
  static constexpr int64_t kTypicalRows = 1024;

  Plan plan(const Dims& input, const Desc& weight, Direction direction) const override {
    const Desc source(input, type(), Tag::ab), result({input[0], out_}, type(), Tag::ab);
    const auto kind = dnnl::prop_kind::forward_inference;
    using Forward = dnnl::inner_product_forward;
    using Gradient = dnnl::inner_product_backward_data;
#if DNNL_VERSION_MAJOR >= 3
    const Forward::primitive_desc forward(engine(), kind, source, weight, bias_desc(), result, attributes(direction));
    if (direction != Direction::input_gradient) return plan_of<Forward>(forward);
    return gradient_plan_of<Gradient>({engine(), source, weight, result, forward, attributes(direction)});
#else
    const Forward::primitive_desc forward(Forward::desc(kind, source, weight, bias_desc(), result), attributes(direction), engine());
    if (direction != Direction::input_gradient) return plan_of<Forward>(forward);
    return gradient_plan_of<Gradient>({Gradient::desc(source, weight, result), attributes(direction), engine(), forward});
#endif
  }

  int64_t in_, out_;
};

class DnnlConv2d : public PackedConv2d, private Packed {
 public:
  DnnlConv2d(const Tensor& weight, const Tensor& bias, int stride, int padding)
      : Packed(weight, bias), weight_dims_(weight.sizes().vec()), stride_(stride), padding_(padding) {
    pack_first(weight.contiguous(), Desc(weight_dims_, type(), Tag::abcd), Desc(weight_dims_, type(), Tag::any),
               {2, weight_dims_[1], kTypicalSide, kTypicalSide});
  }

  Tensor operator()(const Tensor& x_any, const Tensor& residual) const override {
    const Tensor x = x_any.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast);
    const Dims input = x.sizes().vec();
    const Tensor y = result(result_dims(input), residual, at::MemoryFormat::ChannelsLast);
    if (y.numel() != 0) run(input, x, y, residual.defined());
    return y;
  }

  Tensor input_gradient(const Tensor& dy_any, const Shape& input) const override {
    const Tensor dy = dy_any.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast);
    const Tensor dx = result(input, {}, at::MemoryFormat::ChannelsLast);
    if (dx.numel() != 0) run_gradient(input, dy, dx);
    return dx;
  }

 private:
  static constexpr int64_t kTypicalSide = 64;

  Dims result_dims(const Dims& input) const {
    const auto side = [&](int64_t in, int64_t kernel) { return (in + 2 * padding_ - kernel) / stride_ + 1; };
    return {input[0], weight_dims_[0], side(input[2], weight_dims_[2]), side(input[3], weight_dims_[3])};
  }

  Plan plan(const Dims& input, const Desc& weight, Direction direction) const override {
    const Desc source(input, type(), Tag::nhwc), result(result_dims(input), type(), Tag::nhwc);
    const Dims strides{stride_, stride_}, padding{padding_, padding_};
    const auto kind = dnnl::prop_kind::forward_inference;
    const auto algorithm = dnnl::algorithm::convolution_direct;
    using Forward = dnnl::convolution_forward;
    using Gradient = dnnl::convolution_backward_data;
#if DNNL_VERSION_MAJOR >= 3
    const Forward::primitive_desc forward(engine(), kind, algorithm, source, weight, bias_desc(), result, strides, padding, padding,
                                          attributes(direction));
    if (direction != Direction::input_gradient) return plan_of<Forward>(forward);
    return gradient_plan_of<Gradient>(
        {engine(), algorithm, source, weight, result, strides, padding, padding, forward, attributes(direction)});
#else
    const Forward::primitive_desc forward(Forward::desc(kind, algorithm, source, weight, bias_desc(), result, strides, padding, padding),
                                          attributes(direction), engine());
    if (direction != Direction::input_gradient) return plan_of<Forward>(forward);
    return gradient_plan_of<Gradient>(
        {Gradient::desc(algorithm, source, weight, result, strides, padding, padding), attributes(direction), engine(), forward});
#endif
  }

  Dims weight_dims_;
  int64_t stride_, padding_;
};

}  // namespace

std::shared_ptr<const PackedLinear> make_dnnl_linear(const Tensor& weight, const Tensor& bias) {
  try {
    return std::make_shared<DnnlLinear>(weight, bias);
  } catch (const dnnl::error&) {
    return nullptr;  // no such kernel on this CPU (bfloat16 without AVX-512)
  }
}

std::shared_ptr<const PackedConv2d> make_dnnl_conv2d(const Tensor& weight, const Tensor& bias, int stride, int padding) {
  try {
    return std::make_shared<DnnlConv2d>(weight, bias, stride, padding);
  } catch (const dnnl::error&) {
    return nullptr;
  }
}

}  // namespace lorikeet::kernels
#endif

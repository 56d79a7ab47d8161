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

// A primitive with what it wants to be given. Making one compiles machine code (10–20 ms), so it is kept per shape of input;
// oneDNN's own cache shares the code between layers of one shape.
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

// y (+)= op(x): a residual is copied to where the result goes and added by oneDNN before it rounds. (Its "binary" post-operation,
// which needs no copy, has no fast kernel in oneDNN 2.6.)
dnnl::primitive_attr attributes(bool accumulate) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops after;
    after.append_sum(1.0f);
    attributes.set_post_ops(after);
  }
  return attributes;
}

Tensor byte_buffer(size_t bytes) { return at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions().dtype(torch::kUInt8)); }

// What is the same for both operations: the one packed weight, and one primitive per shape of input. The weight stays as it is packed
// for as long as oneDNN's best kernel takes it; a shape that wants another kernel (rare: a VAE's convolution at another size of
// picture) has it packed anew, because two copies would cost more memory than that takes time.
class Packed {
 public:
  Packed(const Tensor& weight, const Tensor& bias) : type_(type_of(weight)), bias_(bias.defined() ? bias.contiguous() : bias) {
    if (bias_.defined()) bias_desc_ = Desc({bias_.numel()}, dnnl::memory::data_type::f32, Tag::x);
  }
  virtual ~Packed() = default;

 protected:
  // The operation for inputs of these dims; throws dnnl::error where oneDNN has no kernel.
  virtual Plan plan(const Dims& input, const Desc& weight, bool accumulate) const = 0;

  // weight: laid out as `plain`.
  void pack_first(const Tensor& weight, const Desc& plain, const Desc& any, const Dims& typical_input) {
    any_ = any;
    weight_ = weight, weight_desc_ = plain;
    repack(plan(typical_input, any, false).weight);
  }

  // y holds the residual already where `accumulate`.
  void run(const Dims& input, const Tensor& x, const Tensor& y, bool accumulate) const {
    const auto [call, weight] = call_for(input, accumulate);
    const Tensor scratch = byte_buffer(call->scratch.get_size());
    std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, wrap(call->source, x)},
                                                    {DNNL_ARG_WEIGHTS, wrap(call->weight, weight)},
                                                    {DNNL_ARG_DST, wrap(call->result, y)},
                                                    {DNNL_ARG_SCRATCHPAD, wrap(call->scratch, scratch)}};
    if (bias_.defined()) arguments.emplace(DNNL_ARG_BIAS, wrap(bias_desc_, bias_));
    call->primitive.execute(stream(), arguments);
    stream().wait();
  }

  dnnl::memory::data_type type() const { return type_; }
  Dtype dtype() const { return type_ == dnnl::memory::data_type::bf16 ? torch::kBFloat16 : torch::kFloat32; }
  const Desc& bias_desc() const { return bias_desc_; }

  // A fresh result, holding the residual if there is one.
  Tensor result(const Shape& shape, const Tensor& residual, at::MemoryFormat format) const {
    const Tensor y = at::empty(shape, at::TensorOptions().dtype(dtype()), format);
    if (!residual.defined()) return y;
    if (residual.sizes() != y.sizes()) {
      throw Error(ErrorKind::internal, "a residual of " + to_string(residual.sizes()) + " does not fit the result " + to_string(y.sizes()));
    }
    return y.copy_(residual);
  }

 private:
  void repack(const Desc& wanted) const {
    const Tensor packed = byte_buffer(wanted.get_size());
    dnnl::memory from = wrap(weight_desc_, weight_), to = wrap(wanted, packed);
    dnnl::reorder(from, to).execute(stream(), from, to);
    stream().wait();
    weight_ = packed, weight_desc_ = wanted;
    calls_.clear();
  }

  // The call keeps its weight alive should another thread repack meanwhile.
  std::pair<std::shared_ptr<const Call>, Tensor> call_for(const Dims& input, bool accumulate) const {
    const std::lock_guard lock(mutex_);
    const std::pair key(input, accumulate);
    if (const auto known = calls_.find(key); known != calls_.end()) return {known->second, weight_};
    try {
      Plan best = plan(input, any_, accumulate);
      if (best.weight != weight_desc_) {
        if (Plan kept = plan(input, weight_desc_, accumulate); kept.kernel == best.kernel) {
          best = std::move(kept);
        } else {
          repack(best.weight);
        }
      }
      return {calls_[key] = std::make_shared<const Call>(best.compile()), weight_};
    } catch (const dnnl::error& error) {
      throw Error(ErrorKind::internal, std::string("oneDNN has no kernel for an input of ") + to_string(input) + ": " + error.message);
    }
  }

  dnnl::memory::data_type type_;
  Tensor bias_;
  Desc bias_desc_, any_;
  mutable std::mutex mutex_;
  mutable Tensor weight_;
  mutable Desc weight_desc_;
  mutable std::map<std::pair<Dims, bool>, std::shared_ptr<const Call> > calls_;
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

 private:
  static constexpr int64_t kTypicalRows = 1024;

  dnnl::inner_product_forward::primitive_desc operation(const Dims& input, const Desc& weight, bool accumulate) const {
    using dnnl::inner_product_forward;
    const Desc source(input, type(), Tag::ab), result({input[0], out_}, type(), Tag::ab);
    const auto kind = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
    return {engine(), kind, source, weight, bias_desc(), result, attributes(accumulate)};
#else
    return {inner_product_forward::desc(kind, source, weight, bias_desc(), result), attributes(accumulate), engine()};
#endif
  }
  Plan plan(const Dims& input, const Desc& weight, bool accumulate) const override {
    return plan_of<dnnl::inner_product_forward>(operation(input, weight, accumulate));
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

 private:
  static constexpr int64_t kTypicalSide = 64;

  Dims result_dims(const Dims& input) const {
    const auto side = [&](int64_t in, int64_t kernel) { return (in + 2 * padding_ - kernel) / stride_ + 1; };
    return {input[0], weight_dims_[0], side(input[2], weight_dims_[2]), side(input[3], weight_dims_[3])};
  }

  dnnl::convolution_forward::primitive_desc operation(const Dims& input, const Desc& weight, bool accumulate) const {
    using dnnl::convolution_forward;
    const Desc source(input, type(), Tag::nhwc), result(result_dims(input), type(), Tag::nhwc);
    const Dims strides{stride_, stride_}, padding{padding_, padding_};
    const auto kind = dnnl::prop_kind::forward_inference;
    const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    return {engine(), kind, algorithm, source, weight, bias_desc(), result, strides, padding, padding, attributes(accumulate)};
#else
    return {convolution_forward::desc(kind, algorithm, source, weight, bias_desc(), result, strides, padding, padding),
            attributes(accumulate), engine()};
#endif
  }
  Plan plan(const Dims& input, const Desc& weight, bool accumulate) const override {
    return plan_of<dnnl::convolution_forward>(operation(input, weight, accumulate));
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

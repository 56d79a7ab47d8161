// Linear and Conv2d with libtorch's own operations, where oneDNN is absent or does not take the machine, the device or the dtype.
#include "nn/kernels/dispatch.h"
#include "nn/kernels/kernels.h"
#include "nn/kernels/packed_dnnl.h"

namespace lorikeet::kernels {
namespace {

class TorchLinear : public PackedLinear {
 public:
  TorchLinear(Tensor weight, Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}
  Tensor operator()(const Tensor& x, const Tensor& residual) const override {
    const Tensor y = at::linear(x.to(weight_.scalar_type()), weight_, bias_);
    return residual.defined() ? y + residual : y;
  }
  Tensor input_gradient(const Tensor& dy) const override { return at::matmul(dy.to(weight_.scalar_type()), weight_); }

 private:
  Tensor weight_, bias_;
};

class TorchConv2d : public PackedConv2d {
 public:
  TorchConv2d(const Tensor& weight, Tensor bias, int stride, int padding)
      : weight_(weight.contiguous(at::MemoryFormat::ChannelsLast)), bias_(std::move(bias)), stride_(stride), padding_(padding) {}
  Tensor operator()(const Tensor& x, const Tensor& residual) const override {
    const Tensor y = at::conv2d(x.to(weight_.scalar_type()), weight_, bias_, stride_, padding_);
    return residual.defined() ? y + residual : y;
  }
  Tensor input_gradient(const Tensor& dy, const Shape& input) const override {
    // Of x only the shape counts.
    const Tensor x = at::empty(input, weight_.options(), at::MemoryFormat::ChannelsLast);
    const auto [dx, dweight, dbias] = at::convolution_backward(dy.to(weight_.scalar_type()), x, weight_, c10::nullopt, {stride_, stride_},
                                                               {padding_, padding_}, {1, 1}, false, {0, 0}, 1, {true, false, false});
    return dx;
  }

 private:
  Tensor weight_, bias_;
  int64_t stride_, padding_;
};

}  // namespace

std::shared_ptr<const PackedLinear> PackedLinear::make(const Tensor& weight, const Tensor& bias, Dtype dtype) {
  const Tensor w = converted(weight, dtype);
  if (supported(w)) {
    if (auto packed = make_dnnl_linear(w, converted(bias, torch::kFloat))) return packed;
  }
  return std::make_shared<TorchLinear>(w, converted(bias, dtype));
}

std::shared_ptr<const PackedConv2d> PackedConv2d::make(const Tensor& weight, const Tensor& bias, int stride, int padding, Dtype dtype) {
  avoid_wrong_convolutions();
  const Tensor w = converted(weight, dtype);
  if (supported(w)) {
    if (auto packed = make_dnnl_conv2d(w, converted(bias, torch::kFloat), stride, padding)) return packed;
  }
  return std::make_shared<TorchConv2d>(w, converted(bias, dtype), stride, padding);
}

}  // namespace lorikeet::kernels

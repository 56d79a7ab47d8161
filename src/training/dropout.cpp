#include "training/dropout.h"

#include "training/random.h"

namespace lorikeet {

Dropout::Dropout(DropoutRates rates, std::string path, std::shared_ptr<const ForwardInfo> now)
    : rates_(rates), path_(std::move(path)), now_(std::move(now)) {}

bool Dropout::drops_module() const {
  return active(rates_.module) && uniform_of(random_bits(now_->random, "drop module " + path_, 0)) < rates_.module;
}

Tensor Dropout::mask(const Shape& shape, double rate, const char* purpose, const torch::TensorOptions& options) const {
  torch::NoGradGuard no_grad;
  const Tensor kept = uniform_tensor(shape, random_bits(now_->random, purpose + path_, 0)) >= rate;
  return (kept.to(torch::kFloat) / (1 - rate)).to(options.device());
}

Tensor Dropout::on_inner(const Tensor& inner, bool channels_first) const {
  Tensor factor;  // float32: the product is rounded once
  if (active(rates_.neuron)) factor = mask(inner.sizes().vec(), rates_.neuron, "drop neurons ", inner.options());
  if (drops_ranks()) {
    Shape shape(static_cast<size_t>(inner.dim()), 1);
    const size_t channel = channels_first ? 1 : shape.size() - 1;
    shape.front() = inner.size(0);
    shape[channel] = inner.size(static_cast<int64_t>(channel));
    const Tensor ranks = mask(shape, rates_.rank, "drop ranks ", inner.options());
    factor = factor.defined() ? factor * ranks : ranks;
  }
  return factor.defined() ? (inner * factor).to(inner.scalar_type()) : inner;
}

Tensor Dropout::on_change(const Tensor& change) const {
  if (!drops_ranks()) return change;
  Shape shape(static_cast<size_t>(change.dim()), 1);
  shape.front() = change.size(0);
  return change * mask(shape, rates_.rank, "drop ranks ", change.options());
}

Tensor Dropout::on_output(const Tensor& added, bool channels_first) const {
  if (!drops_ranks()) return added;
  Shape shape(static_cast<size_t>(added.dim()), 1);
  const size_t channel = channels_first ? 1 : shape.size() - 1;
  shape[channel] = added.size(static_cast<int64_t>(channel));
  return (added * mask(shape, rates_.rank, "drop ranks ", added.options())).to(added.scalar_type());
}

}  // namespace lorikeet

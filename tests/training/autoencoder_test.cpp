// The autoencoder's objective and the scale of its latents.
#include "training/autoencoder.h"

#include <gtest/gtest.h>

#include "model/fresh_weights.h"

namespace lorikeet {
namespace {

const VaeConfig kSmall{.channels = {8, 16, 16, 16}, .groups = 4};

std::map<std::string, Tensor> fresh_weights() {
  FreshWeights fresh(3);
  LayerMap layers;
  Vae(kSmall, Weights(fresh, layers, Compute{}) / "vae");
  return fresh.made();
}

// A WeightSource over a map.
class Given : public WeightSource {
 public:
  explicit Given(std::map<std::string, Tensor> weights) : weights_(std::move(weights)) {}
  Tensor find(const std::string& name) const override {
    const auto found = weights_.find(name);
    return found == weights_.end() ? Tensor{} : found->second;
  }
  std::string describe(const std::string& name) const override { return name; }

 private:
  std::map<std::string, Tensor> weights_;
};

TEST(Autoencoder, StandardisedLatentsHaveMeanZeroAndDeviationOneAndGiveTheSamePicture) {
  torch::NoGradGuard no_grad;
  torch::manual_seed(5);
  const Tensor pixels = torch::rand({4, 3, 64, 64}) * 2 - 1;
  const double scale = 0.18215;
  auto weights = fresh_weights();
  LayerMap layers;
  const Given before(weights);
  const Vae old_vae(kSmall, Weights(before, layers, Compute{}) / "vae");
  const Tensor mean = old_vae.encode(pixels).mean;
  const Tensor channels = mean.transpose(0, 1).flatten(1);
  standardise_latents(weights, {channels.mean(1), channels.std(1)}, scale);

  const Given after(weights);
  LayerMap new_layers;
  const Vae new_vae(kSmall, Weights(after, new_layers, Compute{}) / "vae");
  const VaeEncoding encoding = new_vae.encode(pixels);
  const Tensor scaled = (encoding.mean * scale).transpose(0, 1).flatten(1);
  // Sums of 256 values in float32.
  EXPECT_LT(scaled.mean(1).abs().max().item<double>(), 1e-4);
  EXPECT_LT((scaled.std(1) - 1).abs().max().item<double>(), 1e-4);
  const Tensor old_picture = old_vae.decode(mean), new_picture = new_vae.decode(encoding.mean);
  EXPECT_LT((old_picture - new_picture).abs().max().item<double>(), 1e-4 * old_picture.abs().max().item<double>());
  const Tensor old_deviation = (0.5 * old_vae.encode(pixels).log_variance).exp() / channels.std(1).view({1, -1, 1, 1});
  const Tensor new_deviation = (0.5 * encoding.log_variance).exp() * scale;
  EXPECT_LT((old_deviation - new_deviation).abs().max().item<double>(), 1e-4 * old_deviation.max().item<double>());
}

}  // namespace
}  // namespace lorikeet

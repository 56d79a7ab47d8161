#include "training/autoencoder.h"

namespace lorikeet {
namespace {

// Weights found on drawn pictures: the edges keep outlines sharp, the pull keeps the latents' distribution from drifting and no more.
constexpr double kEdgeWeight = 0.5;
constexpr double kPullWeight = 1e-5;

Tensor size_of(const Tensor& error) { return error.abs().mean() + error.square().mean(); }

Tensor smaller(const Tensor& x, int64_t times) { return torch::avg_pool2d(x, {times, times}); }

Tensor edge_error(const Tensor& error) {
  const Tensor across = error.slice(3, 1) - error.slice(3, 0, -1), down = error.slice(2, 1) - error.slice(2, 0, -1);
  return across.abs().mean() + down.abs().mean();
}

}  // namespace

Tensor autoencoder_loss(const Vae& vae, const Tensor& pixels, const Tensor& noise) {
  const VaeEncoding encoding = vae.encode(pixels);
  const Tensor latent = encoding.mean + torch::exp(0.5 * encoding.log_variance) * noise.to(encoding.mean.device());
  const Tensor error = vae.decode(latent) - pixels.to(latent.device());
  const Tensor pull = 0.5 * (encoding.mean.square() + encoding.log_variance.exp() - 1 - encoding.log_variance).mean();
  return size_of(error) + size_of(smaller(error, 4)) + size_of(smaller(error, 16)) + kEdgeWeight * edge_error(error) + kPullWeight * pull;
}

void standardise_latents(std::map<std::string, Tensor>& weights, const LatentMoments& moments, double scale) {
  Tensor &quant = weights.at("vae.quant_conv.weight"), &quant_bias = weights.at("vae.quant_conv.bias");
  Tensor &post = weights.at("vae.post_quant_conv.weight"), &post_bias = weights.at("vae.post_quant_conv.bias");
  const Tensor factor = 1 / (moments.deviation.clamp_min(1e-6) * scale);  // [C]
  // The first half of quant_conv's rows are the means, the second the logarithms of the variances.
  const Tensor rows = torch::cat({factor, torch::ones_like(factor)});
  const Tensor shifted = quant_bias - torch::cat({moments.mean, torch::zeros_like(moments.mean)});
  quant = quant * rows.view({-1, 1, 1, 1});
  quant_bias = shifted * rows + torch::cat({torch::zeros_like(factor), 2 * factor.log()});
  post_bias = post_bias + torch::matmul(post.flatten(1), moments.mean);
  post = post / factor.view({1, -1, 1, 1});
}

}  // namespace lorikeet

#include "model/networks.h"

#include "base/error.h"
#include "base/text.h"
#include "base/torch_cuda.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

Device choose_device(const std::string& wanted) {
  if (wanted == "auto") return torch::cuda::is_available() ? Device(torch::kCUDA, 0) : Device(torch::kCPU);
  if (wanted == "cpu") return torch::kCPU;
  if (wanted == "cuda" || wanted.starts_with("cuda:")) {
    const auto index = wanted == "cuda" ? std::optional<int64_t>(0) : parse_int(wanted.substr(5));
    if (!index || *index < 0) throw Error(ErrorKind::bad_input, "'" + wanted + "' is no device", "choose auto, cpu, cuda or cuda:N");
    const auto found = torch::cuda::is_available() ? static_cast<int64_t>(torch::cuda::device_count()) : 0;
    if (*index >= found) {
      throw Error(ErrorKind::unsupported, "the device " + wanted + " is not there: libtorch sees " + std::to_string(found) + " CUDA devices",
                  "use --device cpu, or a libtorch that is built for CUDA");
    }
    return Device(torch::kCUDA, static_cast<int8_t>(*index));
  }
  throw Error(ErrorKind::bad_input, "'" + wanted + "' is no device", "choose auto, cpu, cuda or cuda:N");
}

Dtype choose_dtype(const std::string& wanted, const Device& device) {
  if (wanted == "auto") {
    if (device.is_cuda()) return torch::kHalf;
    return cpu_has_fast_bfloat16() ? torch::kBFloat16 : torch::kFloat;
  }
  if (wanted == "f32") return torch::kFloat;
  if (wanted == "bf16") return torch::kBFloat16;
  if (wanted == "f16") {
    if (device.is_cpu()) throw Error(ErrorKind::unsupported, "float16 is not for the CPU", "use --precision bf16 or f32");
    return torch::kHalf;
  }
  throw Error(ErrorKind::bad_input, "'" + wanted + "' is no precision", "choose auto, f32, bf16 or f16");
}

}  // namespace

ComputePlan plan_compute(const std::string& device, const std::string& precision) {
  const Device where = choose_device(device);
  const Dtype dtype = choose_dtype(precision, where);
  const bool half = dtype == torch::kHalf;
  // The autoencoders overflow in float16 (SDXL's for certain), and the text encoders cost nothing.
  return {.text = {where, torch::kFloat}, .unet = {where, dtype}, .vae = {where, half ? torch::kFloat : dtype}};
}

namespace {

// SD2's two kinds have the same shapes. A1111's trial: a network that predicts v answers a constant picture at the last timestep with
// something far below it, one that predicts epsilon with about the picture itself.
std::string probed_prediction(const Networks& networks) {
  const UNetConfig& config = networks.spec.unet;
  const Device device = networks.compute.unet.device;
  const Tensor x = torch::full({1, config.in_channels, 8, 8}, 0.5, device);
  const Tensor context = torch::zeros({1, 2, config.context}, device);
  const Tensor timestep = torch::full({1}, 999.0, device);
  const Tensor out = networks.unet->forward({x, timestep, context, {}, {}}).to(torch::kFloat);
  return (out - x.slice(1, 0, out.size(1))).mean().item<double>() < -1 ? "v" : "epsilon";
}

}  // namespace

std::shared_ptr<Networks> load_networks(const fs::path& checkpoint, const fs::path& vae, const ComputePlan& compute) {
  torch::NoGradGuard no_grad;
  auto loaded = std::make_shared<Networks>();
  Networks& n = *loaded;
  n.checkpoint = Checkpoint::open(checkpoint, vae);
  n.spec = recognise_model(*n.checkpoint);
  n.compute = compute;
  with_context("while loading checkpoint " + checkpoint.string(), [&] {
    const auto weights = [&](const Compute& where) { return Weights(*n.checkpoint, n.layers, where); };
    for (const auto& text : n.spec.text_encoders) {
      n.text_encoders.push_back(std::make_unique<ClipTextModel>(text, weights(compute.text) / text.component));
    }
    // The layers hold packed copies: without this the file's pages would count twice.
    n.checkpoint->release_pages();
    n.unet = std::make_unique<UNet>(n.spec.unet, weights(compute.unet) / "unet");
    n.checkpoint->release_pages();
    n.vae = std::make_unique<Vae>(n.spec.vae, weights(compute.vae) / "vae");
    n.checkpoint->release_pages();
  });
  n.noise_schedule = n.spec.zero_terminal_snr ? zero_terminal_snr(scaled_linear_schedule()) : scaled_linear_schedule();
  if (n.spec.prediction.empty()) n.spec.prediction = probed_prediction(n);
  n.prediction = &find_prediction(n.spec.prediction);
  return loaded;
}

}  // namespace lorikeet

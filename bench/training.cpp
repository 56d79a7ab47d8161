#include "training.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "base/torch_cuda.h"
#include "lora/adapter.h"
#include "model/networks.h"
#include "training/optimizer.h"

namespace lorikeet {
namespace {

// The U-Net of a checkpoint with a fresh LoRA on it.
struct Trainee {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelSpec spec;
  LayerMap layers;
  std::unique_ptr<UNet> unet;
  ParameterGroup factors{"unet", {}, 1e-4, 1e-2};
  std::unique_ptr<Optimizer> optimizer;

  Trainee(const std::filesystem::path& path, const Compute& compute)
      : checkpoint(Checkpoint::open(path)), spec(recognise_model(*checkpoint)) {
    unet = std::make_unique<UNet>(spec.unet, Weights(*checkpoint, layers, compute) / "unet");
    checkpoint->release_pages();
    for (const auto& [name, layer] : layers) {
      if (layer->geometry().op == LayerOp::linear && name.find(".transformer_blocks.") != std::string::npos) put_lora_on(*layer);
    }
    optimizer = find_optimizer("adamw").make({factors}, {});
  }

  void put_lora_on(Layer& layer) {
    AdapterOptions options;
    options.rank = 8, options.alpha = 8;
    const auto kind = std::ranges::find(adapter_kinds(), std::string_view("lora"), &AdapterKind::name);
    const std::shared_ptr<Adapter> adapter = kind->create(layer, options);
    for (const NamedTensor& named : adapter->tensors()) {
      if (named.name == "alpha") continue;
      named.tensor.set_requires_grad(true);
      factors.parameters.push_back({layer.path() + "." + named.name, named.tensor});
    }
    layer.set_run_time_terms({[adapter](const Layer& layer, const Tensor& x) { return *adapter->residual(layer, x); }});
  }

  void step(const UNetInput& input, const Tensor& noise) {
    torch::mse_loss(unet->forward(input).to(torch::kFloat), noise).backward();
    optimizer->step(1);
    for (NamedTensor& factor : factors.parameters) factor.tensor.mutable_grad().zero_();
  }
};

}  // namespace

TrainingFigures measure_training(const std::filesystem::path& checkpoint, const std::string& device, const TrainingCase& what) {
  reset_peak_memory();
  const Compute compute = plan_compute(device, what.precision).unet;
  Trainee trainee(checkpoint, compute);
  trainee.unet->recompute = what.recompute;
  const Tensor noise = torch::randn({1, trainee.spec.unet.in_channels, what.side_px / 8, what.side_px / 8}).to(compute.device);
  const UNetInput input{torch::randn_like(noise),
                        torch::full({1}, 500.0).to(compute.device),
                        torch::randn({1, 77, trainee.spec.unet.context}).to(compute.device),
                        {},
                        {}};
  trainee.step(input, noise);
  TrainingFigures figures{1e9, 0};
  for (int i = 0; i < 2; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    trainee.step(input, noise);
    if (torch::cuda::is_available()) torch::cuda::synchronize();
    figures.seconds = std::min(figures.seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  figures.peak_mb = peak_memory_mb();
  return figures;
}

long peak_memory_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stol(line.substr(6)) / 1024;
  }
  return 0;
}

void reset_peak_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
  std::ofstream("/proc/self/clear_refs") << 5;  // proc(5): the peak becomes what is held now
}

}  // namespace lorikeet

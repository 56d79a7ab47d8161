#include "bench.h"

#include <ATen/Parallel.h>
#include <chrono>

#include "base/error.h"
#include "base/torch_cuda.h"
#include "generate/engine.h"
#include "generate/latents.h"
#include "io/tensor_file.h"
#include "library.h"
#include "lora/apply.h"
#include "model/fresh_weights.h"
#include "training.h"
#include "workshop.h"
#include "workshop/lora_table.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  if (torch::cuda::is_available()) torch::cuda::synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The best of `runs` after one run that is not counted: the machine may be shared.
double best_of(int runs, const std::function<void()>& work) {
  work();
  double best = seconds_of(work);
  for (int i = 1; i < runs; ++i) best = std::min(best, seconds_of(work));
  return best;
}

// Sums of the products of a network: 2 · multiplications of convolutions, linears and attention (peers.md's counting: GFLOP).
struct Work {
  double unet_256 = 360, unet_512 = 1606, vae_512 = 2515, text = 13.0;
  // Forward is half of the CFG pair's, the gradients of the inputs are as much again, and recomputation is another forward.
  double training(int side_px, bool recompute) const { return (side_px == 256 ? unet_256 : unet_512) / 2 * (recompute ? 3 : 2); }
};

// The matrix rate that libtorch itself reaches: the better of a large linear and a 3×3 convolution as the U-Net has them.
double matrix_rate(Dtype dtype, Device device) {
  torch::NoGradGuard no_grad;
  const auto options = torch::TensorOptions().device(device);
  const Tensor x = torch::randn({2048, 1280}, options).to(dtype), w = torch::randn({1280, 1280}, options).to(dtype);
  const double linear = 2e-9 * 2048 * 1280 * 1280 / best_of(10, [&] { torch::linear(x, w); });
  const Tensor image = torch::randn({2, 320, 64, 64}, options).to(dtype).contiguous(torch::MemoryFormat::ChannelsLast);
  const Tensor kernel = torch::randn({320, 320, 3, 3}, options).to(dtype).contiguous(torch::MemoryFormat::ChannelsLast);
  const double conv = 2e-9 * 2 * 64 * 64 * 9 * 320 * 320 / best_of(10, [&] { torch::conv2d(image, kernel, {}, 1, 1); });
  return std::max(linear, conv);
}

fs::path bench_folder() {
  const fs::path folder = fs::temp_directory_path() / "lorikeet-bench";
  fs::create_directories(folder);
  return folder;
}

std::map<std::string, Tensor> halved(const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : tensors) result[name] = tensor.to(torch::kHalf);
  return result;
}

fs::path full_size_checkpoint() {
  const fs::path path = bench_folder() / "sd15-random.safetensors";
  if (fs::exists(path)) return path;
  ModelSpec spec;
  spec.family = "sd1";
  spec.prediction = "epsilon";
  spec.text_encoders = {ClipConfig{}};
  FreshWeights fresh(1);
  LayerMap layers;
  const Weights weights(fresh, layers, Compute{});
  ClipTextModel text(spec.text_encoders[0], weights / "text_encoder");
  UNet unet(spec.unet, weights / "unet");
  Vae vae(spec.vae, weights / "vae");
  write_safetensors(path, halved(single_file_weights(fresh.made(), spec)), {});
  return path;
}

// kohya's default targets: every linear of the attention and feed-forward blocks and the projections, U-Net and text encoder. `whole`: a LoCon,
// on the U-Net's other linears and convolutions too.
fs::path full_size_lora(const LayerMap& layers, int number, int64_t rank = 32, bool whole = false) {
  const fs::path path = bench_folder() / ((whole ? "locon-rank" : "rank") + std::to_string(rank) + "-" + std::to_string(number) + ".safetensors");
  if (fs::exists(path)) return path;
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, layer] : layers) {
    const bool text = name.starts_with("text_encoder.") && name.find("encoder.layers.") != std::string::npos;
    const bool unet = name.starts_with("unet.") && (whole || name.find(".attentions.") != std::string::npos);
    const bool matrix = layer->geometry().op == LayerOp::linear || layer->geometry().op == LayerOp::conv2d;
    if (!matrix || (!text && !unet)) continue;
    std::string key = (text ? "lora_te_" : "lora_unet_") + name.substr(name.find('.') + 1);
    std::replace(key.begin(), key.end(), '.', '_');
    std::vector<int64_t> down = layer->base_weight().sizes().vec(), up(down.size(), 1);
    up[0] = std::exchange(down[0], rank);
    up[1] = rank;
    tensors[key + ".lora_down.weight"] = torch::randn(down).mul(0.02).to(torch::kHalf);
    tensors[key + ".lora_up.weight"] = torch::randn(up).mul(0.02).to(torch::kHalf);
    tensors[key + ".alpha"] = torch::tensor(static_cast<float>(rank) / 2).to(torch::kHalf);
  }
  write_safetensors(path, tensors, {});
  return path;
}

class Bench {
 public:
  Bench(const BenchOptions& options, const std::function<void(const BenchRow&)>& report) : options_(options), report_(report) {}

  std::vector<BenchRow> run() {
    if (options_.threads > 0) torch::set_num_threads(options_.threads);
    library();
    if (options_.only.starts_with("library")) return rows_;
    checkpoint_ = options_.checkpoint.empty() ? full_size_checkpoint() : options_.checkpoint;
    workshop();
    if (options_.only.starts_with("workshop")) return rows_;
    const Device device = plan_compute(options_.device, "auto").unet.device;
    rates_["f32"] = matrix_rate(torch::kFloat, device);
    add("matrix rate f32 (libtorch)", rates_["f32"], "GFLOP/s");
    rates_["bf16"] = matrix_rate(torch::kBFloat16, device);
    add("matrix rate bf16 (libtorch)", rates_["bf16"], "GFLOP/s");
    for (const char* precision : {"bf16", "f32"}) training(precision);
    for (const char* precision : {"bf16", "f32"}) networks(precision);
    return rows_;
  }

 private:
  bool wanted(const std::string& name) const { return options_.only.empty() || name.find(options_.only) != std::string::npos; }

  void add(const std::string& name, double value, const std::string& unit, double share = 0) {
    rows_.push_back({name, value, unit, share});
    if (wanted(name)) report_(rows_.back());
  }

  void timed(const std::string& name, const std::string& precision, double gflop, int runs, const std::function<void()>& work) {
    if (!wanted(name + " " + precision)) return;
    const double seconds = best_of(runs, work);
    add(name + " " + precision, seconds, "s", gflop / seconds / rates_[precision]);
  }

  void networks(const std::string& precision) {
    torch::NoGradGuard no_grad;
    std::unique_ptr<Engine> engine;
    const auto load = [&] {
      engine.reset();
      engine = std::make_unique<Engine>(EngineOptions{.checkpoint = checkpoint_, .device = options_.device, .precision = precision});
    };
    add("load " + precision, 1000 * seconds_of(load), "ms");  // the first: a person waits for that one
    // A virtual machine may have to ask its host for memory first: a second load, into the same memory, is without that.
    if (wanted("load again " + precision)) add("load again " + precision, 1000 * seconds_of(load), "ms");
    const Device device = engine->unet().compute().device;
    for (const int side : options_.large ? std::vector{256, 512} : std::vector{256}) {
      const UNetInput input = unet_input(side, 2, device, engine->spec());
      timed("U-Net step " + std::to_string(side) + "², CFG pair,", precision, side == 256 ? work_.unet_256 : work_.unet_512, 2,
            [&] { engine->unet().forward(input); });
    }
    if (options_.large) {
      const Tensor latent = torch::randn({1, 4, 64, 64}).to(device);
      timed("VAE decode 512²", precision, work_.vae_512, 1, [&] { engine->vae("").decode(latent); });
    }
    const auto& text = *engine->text_encoders()[0];
    const Tensor ids = torch::randint(0, 49000, {2, 77}, torch::TensorOptions().dtype(torch::kLong)).to(device);
    timed("text encoder, prompt and negative prompt,", "f32", 2 * work_.text, 10, [&] { text.forward(text.embed(ids), ids.argmax(1), 1); });
    if (wanted("LoRA load change un-merge merge and un-merge run-time overhead")) loras(*engine, precision);
    add("peak memory so far " + precision, static_cast<double>(peak_memory_mb()), "MB");
  }

  void library() {
#ifdef LORIKEET_LIBRARY
    if (!options_.only.empty() && !options_.only.starts_with("library")) return;
    measure_library(bench_folder() / "library", [&](const std::string& name, double value, const std::string& unit) { add(name, value, unit); });
#endif
  }

  void workshop() {
    if (!options_.only.empty() && !options_.only.starts_with("workshop")) return;
    const OpenCheckpoint model = open_checkpoint(checkpoint_);
    const WorkshopFiles files{checkpoint_, full_size_lora(model.layers, 0), full_size_lora(model.layers, 1), full_size_lora(model.layers, 0, 128),
                              full_size_lora(model.layers, 0, 32, true)};
    measure_workshop(
        files, bench_folder() / "workshop", [&](const std::string& name) { return wanted(name); },
        [&](const std::string& name, double value, const std::string& unit) { add(name, value, unit); });
  }

  // Before everything else, so that the memory is that of training alone.
  void training(const std::string& precision) {
    for (const int side : options_.large ? std::vector{256, 512} : std::vector{256}) {
      for (const bool recompute : {true, false}) {
        const std::string what = std::to_string(side) + "², " + (recompute ? "gradient checkpointing, " : "") + precision;
        const std::string time = "LoRA training step " + what, memory = "peak memory of LoRA training " + what;
        if (!wanted(time) && !wanted(memory)) continue;
        const TrainingFigures figures = measure_training(checkpoint_, options_.device, {side, precision, recompute});
        add(time, figures.seconds, "s", work_.training(side, recompute) / figures.seconds / rates_[precision]);
        add(memory, static_cast<double>(figures.peak_mb), "MB");
      }
    }
    reset_peak_memory();
  }

  static UNetInput unet_input(int side, int64_t rows, Device device, const ModelSpec& spec) {
    return {torch::randn({rows, spec.unet.in_channels, side / 8, side / 8}).to(device), torch::full({rows}, 500.0).to(device),
            torch::randn({rows, 77, spec.unet.context}).to(device), {}, {}};
  }

  void loras(Engine& engine, const std::string& precision) {
    std::vector<fs::path> files;
    for (int i = 0; i < 4; ++i) files.push_back(options_.lora.empty() || i > 0 ? full_size_lora(engine.layers(), i) : options_.lora);
    std::vector<LoraSet> sets;
    const auto load = [&](const fs::path& file) { return load_lora(*LoraFile::open(file), engine.layers(), engine.spec().family); };
    add("LoRA load " + precision, 1000 * seconds_of([&] { load(files[0]); }), "ms");
    for (const auto& file : files) sets.push_back({{load(file), 0.8, 0.8, {}}});
    LoraApplier& applier = engine.lora_applier();
    const double merge = best_of(2, [&] { applier.clear(), applier.merge(sets[0]); });
    const double unmerge = best_of(2, [&] { applier.merge(sets[0]), applier.clear(); });
    const double change = best_of(2, [&] { applier.merge(sets[1]), applier.merge(sets[0]); });
    add("LoRA change, merged, " + precision, 500 * change, "ms");
    const double off = seconds_of([&] { applier.clear(); });
    add("LoRA un-merge " + precision, 1000 * off, "ms");
    add("LoRA merge and un-merge " + precision, 1000 * std::min(merge, unmerge), "ms");
    run_time(engine, sets, precision);
  }

  void run_time(Engine& engine, const std::vector<LoraSet>& sets, const std::string& precision) {
    LoraApplier& applier = engine.lora_applier();
    const UNetInput input = unet_input(256, 4, engine.unet().compute().device, engine.spec());
    const auto step = [&] { engine.unet().forward(input); };
    const double attach = best_of(3, [&] { applier.attach(std::span(sets).subspan(1, 1)), applier.attach(std::span(sets).first(1)); });
    add("LoRA change, run time, " + precision, 500 * attach, "ms");
    if (!wanted("U-Net step 256², batch of 4, run-time overhead of 2 LoRAs, each in its half of the picture")) return;
    applier.clear();
    const double base = best_of(2, step);
    applier.attach(std::span(sets).first(1));
    const double one = best_of(2, step);
    applier.attach(sets, "unet.");
    const double four = best_of(2, step);
    LoraSet halves{sets[0][0], sets[1][0]};
    for (int half = 0; half < 2; ++half) {
      Tensor mask = torch::zeros({32, 32});
      mask.slice(1, 16 * half, 16 * half + 16).fill_(1);
      halves[static_cast<size_t>(half)].region = std::make_shared<const RegionMask>(mask);
    }
    applier.attach(std::span(&halves, 1), "unet.");
    const double regions = best_of(2, step);
    applier.clear();
    add("U-Net step 256², batch of 4, no LoRA, " + precision, base, "s");
    add("run-time overhead of 1 LoRA in a batch of 4, " + precision, 100 * (one / base - 1), "%");
    add("run-time overhead of 4 different LoRAs in a batch of 4, " + precision, 100 * (four / base - 1), "%");
    add("run-time overhead of 2 LoRAs, each in its half of the picture, in a batch of 4, " + precision, 100 * (regions / base - 1), "%");
  }

  BenchOptions options_;
  const std::function<void(const BenchRow&)>& report_;
  std::map<std::string, double> rates_;
  fs::path checkpoint_;
  Work work_;
  std::vector<BenchRow> rows_;
};

}  // namespace

std::vector<BenchRow> run_bench(const BenchOptions& options, const std::function<void(const BenchRow&)>& report) {
  return Bench(options, report).run();
}

}  // namespace lorikeet

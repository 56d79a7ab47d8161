#include "generate/engine.h"

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "model/component_files.h"
#include "prompt/embedding_file.h"

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
    if (device.is_cuda()) return torch::kFloat16;
    return cpu_has_fast_bfloat16() ? torch::kBFloat16 : torch::kFloat32;
  }
  if (wanted == "f32") return torch::kFloat32;
  if (wanted == "bf16") return torch::kBFloat16;
  if (wanted == "f16") {
    if (device.is_cpu()) throw Error(ErrorKind::unsupported, "float16 is not for the CPU", "use --precision bf16 or f32");
    return torch::kFloat16;
  }
  throw Error(ErrorKind::bad_input, "'" + wanted + "' is no precision", "choose auto, f32, bf16 or f16");
}

}  // namespace

ComputePlan plan_compute(const std::string& device, const std::string& precision) {
  const Device where = choose_device(device);
  const Dtype dtype = choose_dtype(precision, where);
  const bool half = dtype == torch::kFloat16;
  // The autoencoders overflow in float16 (SDXL's for certain), and the text encoders cost nothing.
  return {.text = {where, torch::kFloat32}, .unet = {where, dtype}, .vae = {where, half ? torch::kFloat32 : dtype}};
}

struct Engine::OtherVae {
  std::shared_ptr<const Checkpoint> checkpoint;
  LayerMap layers;
  std::unique_ptr<Vae> vae;
};

Engine::Engine(EngineOptions options) : options_(std::move(options)), compute_(plan_compute(options_.device, options_.precision)) {
  torch::NoGradGuard no_grad;
  if (options_.threads > 0) torch::set_num_threads(options_.threads);
  checkpoint_ = Checkpoint::open(options_.checkpoint, options_.vae);
  spec_ = recognise_model(*checkpoint_);
  with_context("while loading checkpoint " + options_.checkpoint.string(), [&] {
    const auto weights = [&](const Compute& compute) { return Weights(*checkpoint_, layers_, compute); };
    for (const auto& text : spec_.text_encoders) {
      text_encoders_.push_back(std::make_unique<ClipTextModel>(text, weights(compute_.text) / text.component));
    }
    // The layers hold packed copies: without this the file's pages would count twice.
    checkpoint_->release_pages();
    unet_ = std::make_unique<UNet>(spec_.unet, weights(compute_.unet) / "unet");
    checkpoint_->release_pages();
    vae_ = std::make_unique<Vae>(spec_.vae, weights(compute_.vae) / "vae");
    checkpoint_->release_pages();
  });
  noise_schedule_ = spec_.zero_terminal_snr ? zero_terminal_snr(scaled_linear_schedule()) : scaled_linear_schedule();
  if (spec_.prediction.empty()) spec_.prediction = probed_prediction();
  prediction_ = &find_prediction(spec_.prediction);
  lora_applier_ = std::make_unique<LoraApplier>(layers_);
}

Engine::~Engine() = default;

// SD2's two kinds have the same shapes. A1111's trial: a network that predicts v answers a constant picture at the last timestep with
// something far below it, one that predicts epsilon with about the picture itself.
std::string Engine::probed_prediction() const {
  const Tensor x = torch::full({1, spec_.unet.in_channels, 8, 8}, 0.5, compute_.unet.device);
  const Tensor context = torch::zeros({1, 2, spec_.unet.context}, compute_.unet.device);
  const Tensor timestep = torch::full({1}, 999.0, compute_.unet.device);
  const Tensor out = unet_->forward({x, timestep, context, {}, {}}).to(torch::kFloat32);
  return (out - x.slice(1, 0, out.size(1))).mean().item<double>() < -1 ? "v" : "epsilon";
}

namespace {
bool is_own_vae(const std::string& name) { return name.empty() || lower(name) == "automatic" || lower(name) == "none"; }

// A folder in diffusers' layout has its hash from its weights.
std::string hash_of(const fs::path& path, const char* component) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return auto_v2(path);
  const fs::path inside = path / component;
  return auto_v2(component_files(fs::is_directory(inside, ignored) ? inside : path).front());
}
}  // namespace

fs::path Engine::vae_path(const std::string& name) const {
  return is_own_vae(name) ? options_.vae : options_.folders.find(ModelKind::vae, name, /*with_paths=*/true).file.path;
}

const Vae& Engine::vae(const std::string& name) {
  if (is_own_vae(name)) return *vae_;
  const fs::path path = vae_path(name);
  auto& other = other_vaes_[path.string()];
  if (!other) {
    auto loaded = std::make_unique<OtherVae>();
    loaded->checkpoint = Checkpoint::open(options_.checkpoint, path);
    const ModelSpec spec = recognise_model(*loaded->checkpoint);
    if (spec.vae.latent_channels != spec_.vae.latent_channels) throw Error(ErrorKind::bad_input, "the VAE " + name + " is for another kind of latent");
    loaded->vae = std::make_unique<Vae>(spec.vae, Weights(*loaded->checkpoint, loaded->layers, compute_.vae) / "vae");
    other = std::move(loaded);
  }
  return *other->vae;
}

std::string Engine::vae_name(const std::string& name) const {
  if (!is_own_vae(name)) return fs::path(name).filename().string();
  return options_.vae.filename().string();
}

std::shared_ptr<const LoadedLora> Engine::lora(const ModelFile& file) {
  std::error_code ignored;
  const auto changed = fs::last_write_time(file.path, ignored).time_since_epoch().count();
  const std::string key = file.path.string() + "\n" + std::to_string(changed);
  auto& loaded = loras_[key];
  if (!loaded) {
    loaded = load_lora(*LoraFile::open(file.path), layers_, spec_.family);
  }
  return loaded;
}

void Engine::merge_loras(const LoraSet& set, std::string_view component) {
  lora_applier_->merge(set, component);
  checkpoint_->release_pages();
}

const std::string& Engine::model_hash() {
  if (model_hash_.empty()) model_hash_ = hash_of(checkpoint_->path(), "unet");
  return model_hash_;
}

const std::string& Engine::vae_hash(const std::string& name) {
  const fs::path path = vae_path(name);
  std::string& hash = vae_hashes_[path.string()];
  if (hash.empty() && !path.empty()) hash = hash_of(path, "vae");
  return hash;
}

const EmbeddingStore& Engine::embeddings() {
  const auto files = options_.folders.list(ModelKind::embedding);
  std::string state;
  for (const auto& file : files) {
    std::error_code ignored;
    state += file.path.string() + "\n" + std::to_string(fs::last_write_time(file.path, ignored).time_since_epoch().count()) + "\n";
  }
  if (embeddings_ && state == embeddings_state_) return *embeddings_;
  std::vector<int64_t> widths;
  for (const auto& text : spec_.text_encoders) widths.push_back(text.width);
  embeddings_ = std::make_unique<EmbeddingStore>(widths);
  embedding_errors_.clear();
  for (const auto& file : files) {
    try {
      for (auto& embedding : read_embedding_file(file.path)) embeddings_->add(std::move(embedding));
    } catch (const Error& error) {
      embedding_errors_.push_back({fs::path(file.name).filename().string(), "it cannot be read: " + error.message()});  // one broken file must not stop the others
    }
  }
  embeddings_state_ = state;
  return *embeddings_;
}

void Engine::set_tiling(bool tiling) {
  if (tiling == tiling_) return;
  lora_applier_->clear();
  for (const auto& [path, layer] : layers_) layer->set_circular(tiling);
  tiling_ = tiling;
}

}  // namespace lorikeet

#include "generate/engine.h"

#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "model/component_files.h"
#include "prompt/embedding_file.h"

namespace lorikeet {

namespace fs = std::filesystem;

struct Engine::OtherVae {
  std::shared_ptr<const Checkpoint> checkpoint;
  LayerMap layers;
  std::unique_ptr<Vae> vae;
};

Engine::Engine(EngineOptions options)
    : Engine(options, [&] {
        if (options.threads > 0) torch::set_num_threads(options.threads);
        return load_networks(options.checkpoint, options.vae, plan_compute(options.device, options.precision));
      }()) {}

Engine::Engine(EngineOptions options, std::shared_ptr<Networks> networks)
    : options_(std::move(options)), networks_(std::move(networks)), lora_applier_(std::make_unique<LoraApplier>(networks_->layers)) {}

Engine::~Engine() = default;

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
  if (is_own_vae(name)) return *networks_->vae;
  const fs::path path = vae_path(name);
  if (!other_vaes_.contains(path.string())) other_vaes_.clear();
  auto& other = other_vaes_[path.string()];
  if (!other) {
    auto loaded = std::make_unique<OtherVae>();
    loaded->checkpoint = Checkpoint::open(options_.checkpoint, path);
    const ModelSpec spec = recognise_model(*loaded->checkpoint);
    if (spec.vae.latent_channels != networks_->spec.vae.latent_channels) throw Error(ErrorKind::bad_input, "the VAE " + name + " is for another kind of latent");
    loaded->vae = std::make_unique<Vae>(spec.vae, Weights(*loaded->checkpoint, loaded->layers, networks_->compute.vae) / "vae");
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
  CachedLora& cached = loras_[key];
  cached.used = ++lora_uses_;
  if (!cached.lora) {
    try {
      cached.lora = load_lora(*LoraFile::open(file.path), networks_->layers, networks_->spec.family);
    } catch (...) {
      loras_.erase(key);
      throw;
    }
    cached.bytes = fs::is_directory(file.path, ignored) ? 0 : fs::file_size(file.path, ignored);
    forget_unused_loras(key);
  }
  return loras_.at(key).lora;
}

void Engine::forget_unused_loras(const std::string& but) {
  const auto total = [&] {
    uintmax_t bytes = 0;
    for (const auto& [key, cached] : loras_) bytes += cached.bytes;
    return bytes;
  };
  while (loras_.size() > 1 && total() > options_.lora_cache_bytes) {
    auto oldest = loras_.end();
    for (auto it = loras_.begin(); it != loras_.end(); ++it)
      if (it->first != but && (oldest == loras_.end() || it->second.used < oldest->second.used)) oldest = it;
    loras_.erase(oldest);
  }
}

void Engine::merge_loras(const LoraSet& set, std::string_view component) {
  lora_applier_->merge(set, component);
  networks_->checkpoint->release_pages();
}

const std::string& Engine::model_hash() {
  if (model_hash_.empty()) model_hash_ = hash_of(networks_->checkpoint->path(), "unet");
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
  for (const auto& text : networks_->spec.text_encoders) widths.push_back(text.width);
  embeddings_ = std::make_unique<EmbeddingStore>(widths);
  embedding_errors_.clear();
  for (const auto& file : files) {
    try {
      for (auto& embedding : read_embedding_file(file.path)) embeddings_->add(std::move(embedding));
    } catch (const Error& error) {
      embedding_errors_.push_back({fs::path(file.name).filename().string(), "it cannot be read: " + error.message()});  // one broken file must not stop the others
    }
  }
  for (const Embedding& embedding : own_embeddings_) embeddings_->add(embedding);
  embeddings_state_ = state;
  return *embeddings_;
}

void Engine::add_embedding(Embedding embedding) {
  own_embeddings_.push_back(std::move(embedding));
  embeddings_.reset();
}

void Engine::set_tiling(bool tiling) {
  if (tiling == tiling_) return;
  lora_applier_->clear();
  for (const auto& [path, layer] : networks_->layers) layer->set_circular(tiling);
  tiling_ = tiling;
}

}  // namespace lorikeet

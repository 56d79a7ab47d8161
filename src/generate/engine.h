// A loaded checkpoint, ready to make pictures: its networks, and caches of LoRAs, embeddings and other VAEs.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "base/progress.h"
#include "io/model_folders.h"
#include "lora/apply.h"
#include "model/networks.h"
#include "prompt/embeddings.h"

namespace lorikeet {

struct EngineOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path vae = {};    // empty: the checkpoint's own
  std::string device = "auto";       // auto | cpu | cuda | cuda:N
  std::string precision = "auto";    // auto | f32 | bf16 | f16
  int threads = 0;                   // 0: one a core
  ModelFolders folders = {};         // where LoRAs, embeddings and VAEs are found by name
  // Of LoRA files kept loaded beside those in use; the longest unused go first.
  uintmax_t lora_cache_bytes = uintmax_t{2} << 30;
};

class Engine {
 public:
  // Loads the checkpoint. Throws Error as Checkpoint::open and recognise_model.
  explicit Engine(EngineOptions options);
  // With networks that are loaded already, and that somebody else may hold too (a trainer).
  Engine(EngineOptions options, std::shared_ptr<Networks> networks);
  ~Engine();

  const EngineOptions& options() const { return options_; }
  const Checkpoint& checkpoint() const { return *networks_->checkpoint; }
  const ModelSpec& spec() const { return networks_->spec; }
  const NoiseSchedule& noise_schedule() const { return networks_->noise_schedule; }
  const Prediction& prediction() const { return *networks_->prediction; }
  const ComputePlan& compute() const { return networks_->compute; }

  const std::vector<std::unique_ptr<ClipTextModel>>& text_encoders() const { return networks_->text_encoders; }
  UNet& unet() const { return *networks_->unet; }
  // "": the checkpoint's own (or options().vae); else a name or path, loaded once and kept until another one is asked for.
  const Vae& vae(const std::string& name);
  // For infotext: the file name of the VAE that `name` means; "" for the checkpoint's own.
  std::string vae_name(const std::string& name) const;

  const LayerMap& layers() const { return networks_->layers; }
  // Merges into the layers of a component ("unet.", "text_encoder"); the base weights that were read for it leave memory again.
  void merge_loras(const LoraSet& set, std::string_view component);
  LoraApplier& lora_applier() { return *lora_applier_; }
  // Loaded and matched once per file state (path, size, time of change), as long as lora_cache_bytes allows.
  std::shared_ptr<const LoadedLora> lora(const ModelFile& file);
  // The embeddings of the models folders; read anew when the folders change.
  const EmbeddingStore& embeddings();
  // One that is in no folder; it takes the place of a file's of the same name.
  void add_embedding(Embedding embedding);
  // Files among them that could not be read; embeddings().skipped() has those that do not fit the model.
  const std::vector<EmbeddingStore::Skipped>& embedding_errors() const { return embedding_errors_; }

  // Hashes for infotext; computed once. AutoV2, 10 hex digits.
  const std::string& model_hash();
  // Of the VAE that `name` means; "" for the checkpoint's own.
  const std::string& vae_hash(const std::string& name);

  // Seamless pictures: convolutions wrap round at the edges.
  void set_tiling(bool tiling);

 private:
  // The file or folder of the VAE that `name` means; empty for the checkpoint's own.
  std::filesystem::path vae_path(const std::string& name) const;

  EngineOptions options_;
  std::shared_ptr<Networks> networks_;
  struct OtherVae;
  std::map<std::string, std::unique_ptr<OtherVae>> other_vaes_;
  std::unique_ptr<LoraApplier> lora_applier_;
  struct CachedLora {
    std::shared_ptr<const LoadedLora> lora;
    uintmax_t bytes = 0;
    uint64_t used = 0;  // the higher the later
  };
  void forget_unused_loras(const std::string& but);
  std::map<std::string, CachedLora> loras_;  // by path and time of change
  uint64_t lora_uses_ = 0;
  std::unique_ptr<EmbeddingStore> embeddings_;
  std::vector<Embedding> own_embeddings_;
  std::vector<EmbeddingStore::Skipped> embedding_errors_;
  std::map<std::string, std::string> vae_hashes_;  // by path
  std::string embeddings_state_, model_hash_;
  bool tiling_ = false;
};

}  // namespace lorikeet

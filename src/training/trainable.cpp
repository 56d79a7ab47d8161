#include "training/trainable.h"

#include "base/error.h"
#include "training/adapter_trainable.h"
#include "training/embedding_trainable.h"
#include "training/full_trainable.h"

namespace lorikeet {
namespace {

// Pivotal tuning (Roich et al. 2021, arXiv 2106.05744, in the sense of the field): adapters and a new word at once; the word's vectors
// lie in the LoRA file as "bundle_emb.<word>.…".
class PivotalTrainable : public Trainable {
 public:
  PivotalTrainable(const Networks& networks, const TrainConfig& config)
      : config_(config), adapters_(networks, config), word_(networks, config) {
    if (config.format == LoraFormat::peft)
      throw Error(ErrorKind::bad_input, "PEFT's format cannot bundle an embedding",
                  "choose format kohya, or train LoRA and embedding apart");
  }

  std::vector<ParameterGroup> groups() const override {
    std::vector<ParameterGroup> groups = adapters_.groups();
    for (ParameterGroup& group : word_.groups()) groups.push_back(std::move(group));
    return groups;
  }
  void attach() override { adapters_.attach(); }
  void detach() override { adapters_.detach(); }
  void begin_forward(const ForwardInfo& info) override { adapters_.begin_forward(info); }
  bool trains_text() const override { return true; }
  std::shared_ptr<const Embedding> embedding() const override { return word_.embedding(); }

  void save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const override {
    LoraContents contents = adapters_.contents();
    contents.embeddings[word_.embedding()->name] = word_.tensors();
    contents.metadata = std::move(metadata);
    write_lora(path, contents, adapters_.style(), dtype_of(config_.save_dtype));
  }

  std::string describe() const override { return adapters_.describe() + "; " + word_.describe(); }

 private:
  TrainConfig config_;
  AdapterTrainable adapters_;
  EmbeddingTrainable word_;
};

}  // namespace

void Trainable::set_multiplier(double) { throw Error(ErrorKind::internal, "what is trained has no multiplier"); }

std::unique_ptr<Trainable> make_trainable(const Networks& networks, const TrainConfig& config) {
  switch (config.method) {
    case TrainMethod::lora:
    case TrainMethod::slider: return std::make_unique<AdapterTrainable>(networks, config);
    case TrainMethod::textual_inversion: return std::make_unique<EmbeddingTrainable>(networks, config);
    case TrainMethod::pivotal: return std::make_unique<PivotalTrainable>(networks, config);
    case TrainMethod::full:
    case TrainMethod::autoencoder: return std::make_unique<FullTrainable>(networks, config);
  }
  throw Error(ErrorKind::internal, "a way of training that is unknown");
}

}  // namespace lorikeet

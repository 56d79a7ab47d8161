// Textual inversion (Gal et al. 2022, arXiv 2208.01618): vectors that stand for a new word, one set for each text encoder; nothing else is
// trained.
#pragma once
#include <memory>

#include "training/trainable.h"

namespace lorikeet {

class EmbeddingTrainable : public Trainable {
 public:
  // The word is config.token, or the trigger. Its vectors begin as the token embeddings of config.initial_text ("*" where it is empty): one
  // vector as their mean, several as the first ones, over again where the text is shorter. Error{bad_input}: no word, an initial
  // text without tokens, more vectors than a chunk of the prompt holds.
  EmbeddingTrainable(const Networks& networks, const TrainConfig& config);

  std::vector<ParameterGroup> groups() const override;
  void attach() override {}
  void detach() override {}
  bool trains_text() const override { return true; }
  std::shared_ptr<const Embedding> embedding() const override { return embedding_; }
  // {"emb_params"} for one text encoder (kohya, A1111), {"clip_l", "clip_g"} for two. Programs call the word by the name of the file.
  void save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const override;
  std::string describe() const override;

  // The tensors by those names.
  std::map<std::string, Tensor> tensors() const;

 private:
  TrainConfig config_;
  std::vector<std::string> components_;  // of the text encoders, as embedding_->vectors
  std::shared_ptr<const Embedding> embedding_;
};

}  // namespace lorikeet

// Full fine-tuning (DreamBooth as Ruiz et al. 2022, arXiv 2208.12242, did it): every weight of the U-Net, and of the text encoders if
// asked, kept as float32 numbers that the layers read anew at each forward pass. Out comes a checkpoint.
#pragma once
#include <memory>
#include <vector>

#include "training/trainable.h"

namespace lorikeet {

class FullTrainable : public Trainable {
 public:
  // Not trained: CLIP's position embeddings, which are no layer. The autoencoder with TrainMethod::autoencoder, and then nothing else.
  FullTrainable(const Networks& networks, const TrainConfig& config);
  ~FullTrainable() override;

  std::vector<ParameterGroup> groups() const override;
  void attach() override;
  void detach() override;
  bool trains_text() const override { return config_.train_text_encoder && config_.method == TrainMethod::full; }
  // A single-file checkpoint: trained weights in config.save_dtype, all else as the base stores it, without its EMA copy. A base that is a
  // single file of that very layout gives everything else that it holds too.
  void save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const override;
  // With the memory that weights, gradients and AdamW's two moments take.
  std::string describe() const override;

 private:
  struct Part {
    std::shared_ptr<Layer> layer;
    Tensor weight, bias;  // leaves; bias may be undefined
  };

  const Networks& networks_;
  TrainConfig config_;
  std::vector<Part> parts_;  // by path
  bool attached_ = false;
};

}  // namespace lorikeet

// Adapters on the selected layers: LoRA and its kin. Kinds with a low-rank short cut run beside their layer, the others give the layer a
// weight that is computed anew at each forward pass.
#pragma once
#include <memory>
#include <vector>

#include "lora/write.h"
#include "training/dropout.h"
#include "training/trainable.h"

namespace lorikeet {

class AdapterTrainable : public Trainable {
 public:
  AdapterTrainable(const Networks& networks, const TrainConfig& config);
  ~AdapterTrainable() override;

  std::vector<ParameterGroup> groups() const override;
  void attach() override;
  void detach() override;
  void begin_forward(const ForwardInfo& info) override { *now_ = info, *multiplier_ = 1; }
  void set_multiplier(double multiplier) override { *multiplier_ = multiplier; }
  bool trains_text() const override;
  void save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const override;
  std::string describe() const override;

  // What save() writes: of the layers alone, without metadata; and the way it writes it. (In PEFT's format with alphas that are the ranks,
  // and factors scaled accordingly.)
  LoraContents contents() const;
  const LoraStyle& style() const;

 private:
  struct Part {
    std::shared_ptr<Layer> layer;
    std::shared_ptr<Adapter> adapter;
    Dropout dropout;
  };

  TrainConfig config_;
  size_t text_encoders_;
  std::shared_ptr<ForwardInfo> now_ = std::make_shared<ForwardInfo>();
  std::shared_ptr<double> multiplier_ = std::make_shared<double>(1);
  std::vector<Part> parts_;  // by path
  bool attached_ = false;
};

// The dtype of a finished file's tensors.
Dtype dtype_of(SaveDtype dtype);
// "1.6 M"
std::string count_text(int64_t count);

}  // namespace lorikeet

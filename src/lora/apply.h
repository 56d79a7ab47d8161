// Putting LoRA files onto a model: match a file's modules with the layers, then merge, or attach at run time.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lora/adapter.h"
#include "lora/blocks.h"
#include "lora/file.h"
#include "lora/region.h"
#include "nn/layer.h"

namespace lorikeet {

// What a file found in a model. Never silent: everything that did not fit is listed here.
struct LoraReport {
  std::string name;  // the file's stem
  std::string path;
  int matched = 0, total = 0;          // modules
  std::vector<std::string> unmatched;  // keys of modules that no layer answers to, as in the file
  std::vector<std::string> unused;     // tensors that no kind read: "module.tensor", or whole keys of tensors outside of any module
  std::map<std::string, int> kinds;    // "lora" -> 264, by layer
  std::string family;                  // the family that the file is made for, from its shapes and names: "sd1", "sd2", "sdxl", "" unknown
};

// A LoRA file bound to one model's layers. Shared and cached; immutable.
struct LoadedLora {
  LoraReport report;
  std::string hash;                                                 // AutoV3 (sha256 without the header), 64 hex
  std::map<std::string, std::shared_ptr<const Adapter>> adapters;   // by layer path
  std::map<std::string, std::map<std::string, Tensor>> embeddings;  // bundled textual inversions: name -> file tensors
};

// Throws Error{bad_input} when nothing fits ("made for sdxl; this checkpoint is sd1") or a matched module has a wrong shape.
// `family` is the model's family id, for the message.
std::shared_ptr<const LoadedLora> load_lora(const LoraFile& file, const LayerMap& layers, std::string_view family);

// One tag, resolved, at one step. Two uses of the same file with the same `dyn` and region are summed: the kinds that are not additive get
// the sum too.
struct LoraUse {
  std::shared_ptr<const LoadedLora> lora;
  double te = 1, unet = 1;                          // multipliers of text encoder and U-Net
  std::optional<int64_t> dyn = {};                  // keep the first `dyn` ranks
  std::shared_ptr<const BlockWeights> blocks = {};  // times the multipliers; null: 1 everywhere
  Region region = {};                               // where the U-Net's part works; null: everywhere. At run time only
  bool operator==(const LoraUse&) const = default;
};
using LoraSet = std::vector<LoraUse>;

// One adapter on one layer.
struct LoraTerm {
  std::shared_ptr<const Adapter> adapter;
  double multiplier = 1;
  Region region = {};  // null: everywhere
  bool operator==(const LoraTerm&) const = default;
};
using LoraTerms = std::vector<LoraTerm>;

// The effective weight and bias of a layer under `terms` (whatever their regions), each adapter computed from the weight as changed so far,
// as A1111 does. Computed in float32 on the CPU, the weight rounded to `dtype` at the end; bias undefined when the layer has none, or when
// no adapter changes it.
struct MergedLayer {
  Tensor weight, bias;
};
MergedLayer merged_layer(const Layer& layer, const LoraTerms& terms, Dtype dtype = torch::kFloat);

// What one model's layers have on them at the moment, and how that is changed. Only layers whose terms differ from what they have are
// touched. One applier a model; not for several threads at once.
class LoraApplier {
 public:
  explicit LoraApplier(const LayerMap& layers) : layers_(layers) {}

  // Makes the effective weights base + all of `set`, in the order of the set; layers that no adapter touches go back to the base,
  // bit for bit. Multiplier 0 leaves a layer untouched. Error{internal} for a use with a region. Only layers whose path starts with
  // `component` ("unet.", "text_encoder";
  // "" = all) are looked at.
  void merge(const LoraSet& set, std::string_view component = {});

  // The run-time way: row i of the batch gets sets[i]; sets.size() divides the batch (rows are set-major: all rows of sets[0] first).
  // Takes off what was attached or merged before. An empty span takes everything off.
  // A use with a region adds to the places inside of it only, at each layer's own size; on the keys and values of the text it acts on the
  // places that ask (LayerVariants); placeless layers and the text encoders know no regions: the former are left alone, the latter changed.
  void attach(std::span<const LoraSet> sets, std::string_view component = {});

  // The base again, bit for bit.
  void clear(std::string_view component = {}) { attach({}, component); }

 private:
  // What a layer has: nothing, one merged list of terms, or one list a row.
  struct Applied {
    bool merged = false;
    std::vector<LoraTerms> rows;
    std::vector<std::vector<Region>> regions;  // of each row's set; only for a layer that reads the text and has a term with a region
    bool operator==(const Applied&) const = default;
  };

  LoraTerms terms_of(const LoraSet& set, const std::string& path);
  // Brings the layers to what applied_ says. When that throws, they are at the base.
  void change(std::vector<Layer*> layers);
  std::shared_ptr<const Adapter> cut(const std::shared_ptr<const Adapter>& adapter, std::optional<int64_t> rank);

  LayerMap layers_;
  std::map<std::string, Applied> applied_;
  std::map<std::pair<std::shared_ptr<const Adapter>, int64_t>, std::shared_ptr<const Adapter>> cut_;  // null: nothing to cut
};

// The cost rule: should a run merge? All in units of one evaluation of the network on one picture.
struct ApplyPlan {
  int evaluations = 20;  // per picture: steps, times 2 with guidance, times evaluations a step
  int pictures = 1;
  int sets_in_batch = 1;    // distinct LoRA sets in one batch
  int changes = 0;          // how often the set changes during a run (schedules)
  bool low_rank = true;     // every adapter has a residual
  bool merged_now = false;  // the very set is already merged
};
bool prefer_merged(const ApplyPlan& plan);
// Every adapter of the set has the low-rank short cut.
bool is_low_rank(const LoraSet& set);
bool has_regions(const LoraSet& set);
// How many layers a file would change that no region can hold (is_placeless).
int placeless_layers(const LoadedLora& lora);

}  // namespace lorikeet

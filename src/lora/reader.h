// A LoRA file's modules sorted by layers and read a layer at a time, so that a large file never stands in memory as a whole.
// load_lora() (apply.h) reads all of them; the tools on files (surgery/) take one after the other.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "lora/apply.h"
#include "lora/file.h"
#include "lora/naming.h"
#include "nn/layer.h"

namespace lorikeet {

// A layer's part of a file.
struct ReadAdapter {
  std::shared_ptr<const Adapter> adapter;  // null: no kind knows the tensors
  std::vector<std::string> unused;         // "module.tensor" that the kind did not read
};

class LoraReader {
 public:
  // Against a model's layers. Error{bad_input} when nothing fits. `family` is the model's family id, for the message.
  LoraReader(std::shared_ptr<const LoraFile> file, const LayerMap& layers, std::string_view family);

  // Without a model: the layers have the file's own shapes and no weights. `known` are layers by whose paths the modules are looked up
  // (shapes of another size do not matter; kernels are taken from them where the file does not tell). A module of no known layer becomes a
  // layer by itself, under the module's own name. Modules whose shape nothing tells (OFT of an unknown layer) are report().unmatched.
  static LoraReader by_shapes(std::shared_ptr<const LoraFile> file, const LayerMap& known);

  const LoraFile& file() const { return *file_; }
  const std::shared_ptr<const LoraFile>& file_pointer() const { return file_; }
  // name, path, matched, total, unmatched, family; kinds and unused are for whoever loads.
  const LoraReport& report() const { return report_; }
  // Those that the file changes, by path.
  const LayerMap& layers() const { return layers_; }
  bool has_weights() const { return has_weights_; }  // the layers are a model's

  // The file's module of a layer (the first, where a file mixes spellings), and the naming that it is written in; null: none that is known.
  const std::string& module(const std::string& path) const;
  const LoraNaming* naming(const std::string& path) const;
  // The layer's tensors as stored, rows of a fused projection cut out. Thread-safe.
  std::vector<NamedTensor> read(const std::string& path) const;
  ReadAdapter load(const std::string& path) const;

 private:
  struct Match {
    std::string module;
    int part = -1;
    const LoraNaming* naming = nullptr;
  };
  explicit LoraReader(std::shared_ptr<const LoraFile> file);
  void match(const LayerMap& layers);

  std::shared_ptr<const LoraFile> file_;
  LoraReport report_;
  LayerMap layers_;
  std::map<std::string, std::vector<Match>> matches_;
  bool has_weights_ = true;
};

// Rows and columns (in·kh·kw; 1 for norms) of the weight that a module with these tensors changes; nothing where they do not tell.
struct DeltaSize {
  int64_t rows = 0, columns = 0;
};
std::optional<DeltaSize> delta_size(const TensorShapes& shapes);

}  // namespace lorikeet

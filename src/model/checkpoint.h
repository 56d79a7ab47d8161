// A checkpoint in any layout (single LDM/SGM file, diffusers folder, separate VAE), answering for diffusers' parameter names:
// "unet.conv_in.weight", "vae.decoder.conv_in.weight", "text_encoder.text_model…", "text_encoder_2.…".
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/tensor_file.h"
#include "nn/weights.h"

namespace lorikeet {

// Where a parameter lies in the checkpoint's files.
struct StoredParameter {
  std::shared_ptr<const TensorFile> file;
  std::string key;
  int part = -1;            // its third of the rows of OpenCLIP's fused projection (0 q, 1 k, 2 v); -1: it is the whole tensor
  bool transposed = false;  // OpenCLIP's text_projection
};

class Checkpoint : public WeightSource {
 public:
  // `path`: a file, or a diffusers folder (model_index.json inside). `vae`: takes the place of the checkpoint's own autoencoder; empty: none.
  // Opens headers only. Throws Error (bad_input when the file is no checkpoint at all: a LoRA, an embedding, …).
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& path, const std::filesystem::path& vae = {});
  ~Checkpoint() override;

  const std::filesystem::path& path() const { return path_; }

  // In diffusers' names.
  Tensor find(const std::string& name) const override;
  std::string describe(const std::string& name) const override;
  std::optional<Shape> shape(const std::string& name) const;
  bool has(const std::string& name) const { return shape(name).has_value(); }
  bool has_component(const std::string& component) const { return components_.contains(component); }
  // The text encoder of this component is stored in OpenCLIP's layout.
  bool is_open_clip(const std::string& component) const;
  // The number i of the first "before" + i + "after" that is missing: how many layers, levels, blocks there are.
  int64_t count(const std::string& before, const std::string& after) const;

  // Nothing when the checkpoint has no such parameter.
  std::optional<StoredParameter> stored(const std::string& name) const;
  // All files that it consists of, a separate VAE's too.
  const std::vector<std::shared_ptr<const TensorFile>>& files() const { return files_; }

  // The tensors that were read so far leave memory until they are read again.
  void release_pages() const override;

  // As in the file: whether a key exists, or one that contains `part`.
  bool has_key(const std::string& key) const;
  bool has_key_with(std::string_view part) const;
  std::string stored_dtype() const;  // of most of the U-Net: "F16"

  // The small configuration for what shapes cannot tell: the metadata entry "lorikeet.config", the file "<name>.config.json" beside it,
  // or the config.json files of a diffusers folder; a path through the JSON object, "unet.norm_num_groups". Nothing when absent or null.
  std::optional<int64_t> config_int(std::string_view path) const;
  std::optional<double> config_number(std::string_view path) const;
  std::optional<std::string> config_string(std::string_view path) const;
  std::optional<std::vector<int64_t>> config_ints(std::string_view path) const;  // a lone number is a list of one
  bool config_flag(std::string_view path) const;                                 // true, or a number that is not 0

 private:
  enum class Spelling { diffusers, ldm_unet, ldm_vae, open_clip };
  struct Component {
    std::vector<std::shared_ptr<const TensorFile>> files;  // several: shards
    std::string prefix;                                    // before each key
    Spelling spelling;
  };
  struct Config;
  struct Place {  // where a parameter lies
    const TensorFile* file = nullptr;
    std::string key;
    const TensorEntry* entry = nullptr;
  };

  Checkpoint() = default;
  void open_folder();
  void open_file(const std::filesystem::path& config_hint);
  void use_vae(const std::filesystem::path& vae);
  void add_vae_component(std::shared_ptr<const TensorFile> file);
  std::vector<std::string> spellings(const Component& component, const std::string& name) const;
  Place place(const std::string& name) const;

  std::filesystem::path path_;
  std::map<std::string, Component> components_;
  std::vector<std::shared_ptr<const TensorFile>> files_;
  std::unique_ptr<Config> config_;
};

// q, k and v lie below one another in OpenCLIP's fused projection: 0, 1, 2 by the parameter's name in diffusers' words, -1 for all others.
int fused_part(std::string_view name);

}  // namespace lorikeet

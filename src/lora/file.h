// A LoRA file, opened: its tensors grouped by module, whatever the file format and the spelling of the keys, and what its header
// says about it. Knows no model; apply.h matches the modules with a model's layers.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "io/tensor_file.h"
#include "lora/adapter.h"
#include "lora/peft_config.h"

namespace lorikeet {

// What a file's header tells, without reading a tensor.
struct LoraSummary {
  std::string name;            // the file's stem
  std::string alias;           // ss_output_name; the stem when absent
  std::string family;          // by shapes and names: "sd1", "sd2", "sdxl", "sd3", "flux"; "" when they do not tell
  std::string claimed_family;  // the same by the metadata
  std::string claimed_base;    // the metadata's own words: "sdxl_base_v1-0", "stable-diffusion-v1/lora"
  int modules = 0;
  bool text_encoder = false, unet = false;            // what it changes
  std::map<std::string, int> kinds;                   // "lora" -> 264; "unknown" for what no kind recognises
  std::map<int64_t, int> ranks;                       // 32 -> 264
  std::vector<std::string> embeddings;                // bundled ones
  std::string trigger_phrase;                         // modelspec.trigger_phrase
  std::vector<std::pair<std::string, int64_t>> tags;  // of the training captions (ss_tag_frequency), most frequent first, at most 50
};

class LoraFile {
 public:
  struct Entry {
    std::string tensor;  // see split_lora_key()
    std::string key;     // the file's
    Shape shape;
  };

  // Error as TensorFile::open; bad_input too when the file is something else: a checkpoint, an embedding, an empty file.
  static std::shared_ptr<const LoraFile> open(const std::filesystem::path& path);

  explicit LoraFile(std::shared_ptr<const TensorFile> file);

  const std::filesystem::path& path() const { return file_->path(); }
  std::string name() const { return path().stem().string(); }
  const std::map<std::string, std::string>& metadata() const { return file_->metadata(); }

  const std::map<std::string, std::vector<Entry>>& modules() const { return modules_; }
  TensorShapes shapes(const std::string& module) const;
  // As stored, an alpha of PEFT's config among them. Throws Error{not_found}.
  std::vector<NamedTensor> read(const std::string& module) const;

  // As the file has them, whatever they belong to.
  const std::map<std::string, TensorEntry>& tensors() const { return file_->tensors(); }
  // The key is a tensor of a bundled embedding.
  bool is_embedding(std::string_view key) const;
  // See TensorFile.
  void release_pages() const { file_->release_pages(); }
  FileFormat format() const { return file_->format(); }

  // Keys that belong to no module and no embedding.
  const std::vector<std::string>& strays() const { return strays_; }
  // Bundled embeddings, name -> tensor's own name -> tensor, as an embedding file would have them: "bundle_emb.NAME.clip_l", and
  // cloneofsimo's "<s1>" as "emb_params".
  std::map<std::string, std::map<std::string, Tensor>> read_embeddings() const;

  // AutoV3: the metadata's sshs_model_hash if it has a sound one, as A1111 does, else computed at the first call. 64 digits.
  const std::string& hash() const;
  LoraSummary summary() const;

 private:
  void group();
  void check_is_lora() const;

  std::shared_ptr<const TensorFile> file_;
  std::map<std::string, std::vector<Entry>> modules_;
  std::map<std::string, std::map<std::string, std::string>> embeddings_;  // name -> tensor -> key
  std::vector<std::string> strays_;
  std::vector<PeftConfig> configs_;
  mutable std::once_flag hashed_;
  mutable std::string hash_;
};

// The family that a file is made for, by the shapes and names of its modules; "" when they do not tell.
std::string guess_family(const LoraFile& file);

}  // namespace lorikeet

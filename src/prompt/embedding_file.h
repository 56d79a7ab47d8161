// Textual-inversion embeddings from files, in every form that people have them (docs/formats.md):
// - webui .pt/.bin {string_to_param: {"*": [n, D]}, name, …}, kohya {emb_params}, a single tensor under any name;
// - diffusers {"<token>": [D] or [n, D]}, one or several tokens;
// - SDXL {clip_l: [n, 768], clip_g: [n, 1280]}, Hugging Face's pivotal tuning {text_encoders_0, text_encoders_1};
// - pictures that carry one: as PNG text "sd-ti-embedding", or in their pixels;
// - inside a LoRA file: bundle_emb.<name>.… (kohya, LyCORIS), or cloneofsimo's "<s1>" tensors, which the metadata marks "<embed>".
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/torch.h"
#include "io/picture.h"
#include "prompt/embeddings.h"

namespace lorikeet {

// One embedding named after the file; a file of several tokens gives one for each, named like the token.
// hash: the first 12 digits of the file's sha256. Throws Error: bad_input (not an embedding: says what it found), io, not_found.
std::vector<Embedding> read_embedding_file(const std::filesystem::path& path);

// The embeddings among the tensors of a LoRA file; none is no error. lora_name stands in place of their hash, as in the webui.
// `read` gives the tensor of a name.
std::vector<Embedding> bundled_embeddings(const std::vector<std::string>& names, const std::map<std::string, std::string>& metadata,
                                          const std::string& lora_name, const std::function<Tensor(const std::string&)>& read);
// The tensor belongs to a bundled embedding, not to the LoRA.
bool is_bundled_embedding(const std::string& tensor_name, const std::map<std::string, std::string>& metadata);

// A PNG, JPEG or WebP by its first bytes.
bool is_picture(const std::filesystem::path& path);

// The embedding's JSON that a picture carries; nothing when it carries none.
std::optional<std::string> embedding_json_of(const PictureFile& picture);

}  // namespace lorikeet

#include "prompt/embedding_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "io/tensor_file.h"

namespace lorikeet {

namespace {
constexpr std::string_view kBundlePrefix = "bundle_emb.";
using TensorMap = std::map<std::string, Tensor>;

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorKind::bad_input, message, "give a textual-inversion file: .pt, .bin, .safetensors, or a picture that carries one");
}

// -> [n, D] float32
Tensor as_vectors(const Tensor& tensor, const std::string& name) {
  if (!tensor.is_floating_point())
    fail("\"" + name + "\" holds " + to_string(tensor.scalar_type()) + " numbers, an embedding has floating-point vectors");
  const Tensor vectors = tensor.detach().to(torch::kFloat);
  const Tensor rows = vectors.dim() == 1 ? vectors.unsqueeze(0) : vectors;
  if (rows.dim() != 2 || rows.size(0) < 1 || rows.size(1) < 1)
    fail("\"" + name + "\" has the shape " + to_string(tensor.sizes()) + ", an embedding has [vectors, width]");
  if (!rows.isfinite().all().item<bool>()) fail("\"" + name + "\" holds numbers that are not finite");
  return rows.contiguous();
}

Embedding make(const std::string& name, const std::vector<std::pair<std::string, Tensor>>& tensors) {
  Embedding embedding{name, "", {}};
  for (const auto& [key, tensor] : tensors) embedding.vectors.push_back(as_vectors(tensor, key));
  for (const Tensor& one : embedding.vectors)
    if (one.size(0) != embedding.count()) fail("the text encoders get different numbers of vectors");
  return embedding;
}

// Pairs of names under which embeddings for two text encoders lie.
constexpr std::pair<std::string_view, std::string_view> kTwoEncoders[] = {{"clip_l", "clip_g"}, {"text_encoders_0", "text_encoders_1"}};

// One embedding of the tensors, by the forms that have fixed names; nothing when it is none of them.
std::optional<Embedding> read_known_form(const std::string& name, const TensorMap& tensors) {
  std::vector<std::pair<std::string, Tensor>> params;
  for (const auto& [key, tensor] : tensors)
    if (key == "string_to_param" || starts_with(key, "string_to_param.")) params.emplace_back(key, tensor);
  if (params.size() > 1) fail("string_to_param holds " + std::to_string(params.size()) + " tensors, expected one");
  if (params.size() == 1) return make(name, params);
  if (const auto found = tensors.find("emb_params"); found != tensors.end()) return make(name, {*found});
  for (const auto& [first, second] : kTwoEncoders) {
    for (const auto& key : {first, second})
      if (const auto found = tensors.find(std::string(key)); found != tensors.end()) params.emplace_back(*found);
    if (!params.empty()) return make(name, params);
  }
  return std::nullopt;
}

std::vector<Embedding> from_tensors(const std::string& stem, const TensorMap& tensors) {
  if (auto known = read_known_form(stem, tensors)) return {*known};
  if (tensors.empty()) fail("it holds no tensor");
  if (tensors.size() == 1) return {make(stem, {*tensors.begin()})};
  std::vector<Embedding> tokens;
  for (const auto& [key, tensor] : tensors) {
    if (!starts_with(key, "<") || !ends_with(key, ">")) {
      fail("it holds " + std::to_string(tensors.size()) + " tensors that are no embedding (one is " + tensors.begin()->first + ")");
    }
    tokens.push_back(make(key, {{key, tensor}}));
  }
  return tokens;
}

// {"TORCHTENSOR": [[…], …]}
Tensor read_json_tensor(const nlohmann::json& value) {
  const auto rows = value.at("TORCHTENSOR").get<std::vector<std::vector<float>>>();
  std::vector<float> numbers;
  for (const auto& row : rows) {
    if (row.size() != rows[0].size()) fail("its vectors are of different width");
    numbers.insert(numbers.end(), row.begin(), row.end());
  }
  if (numbers.empty()) fail("it holds no vector");
  return torch::tensor(numbers).reshape({static_cast<int64_t>(rows.size()), -1});
}

std::vector<Embedding> from_json(const std::string& stem, const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    TensorMap tensors;
    for (const auto& [key, value] : json.at("string_to_param").items()) tensors["string_to_param." + key] = read_json_tensor(value);
    const bool named = json.contains("name") && json["name"].is_string();
    return from_tensors(named ? json["name"].get<std::string>() : stem, tensors);
  } catch (const nlohmann::json::exception&) {
    fail("the embedding in the picture is damaged");
  }
}

std::vector<Embedding> read_tensor_form(const std::filesystem::path& path) {
  const auto file = TensorFile::open(path);
  TensorMap tensors;
  for (const auto& [name, entry] : file->tensors()) {
    if (starts_with(name, "string_to_token")) continue;  // the placeholder's token id
    if (tensors.size() > 64) fail("it holds " + std::to_string(file->tensors().size()) + " tensors; that is a model or a LoRA");
    tensors[name] = entry.view().clone();  // a clone: no view of the file stays behind
  }
  return from_tensors(path.stem().string(), tensors);
}
}  // namespace

bool is_picture(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  char start[12] = {};
  file.read(start, sizeof start);
  const std::string_view head(start, sizeof start);
  return starts_with(head, "\x89PNG") || starts_with(head, "\xFF\xD8\xFF") || (starts_with(head, "RIFF") && head.substr(8) == "WEBP");
}

std::vector<Embedding> read_embedding_file(const std::filesystem::path& path) {
  return with_context("while reading embedding " + path.string(), [&] {
    std::vector<Embedding> embeddings;
    if (is_picture(path)) {
      const auto json = embedding_json_of(read_picture(path));
      if (!json) fail("this picture carries no embedding");
      embeddings = from_json(path.stem().string(), *json);
    } else {
      embeddings = read_tensor_form(path);
    }
    const std::string hash = sha256_file(path).substr(0, 12);
    for (Embedding& embedding : embeddings) embedding.hash = hash;
    return embeddings;
  });
}

bool is_bundled_embedding(const std::string& tensor_name, const std::map<std::string, std::string>& metadata) {
  if (starts_with(tensor_name, kBundlePrefix)) return true;
  const auto mark = metadata.find(tensor_name);
  return mark != metadata.end() && mark->second == "<embed>";
}

std::vector<Embedding> bundled_embeddings(const std::vector<std::string>& names, const std::map<std::string, std::string>& metadata,
                                          const std::string& lora_name, const std::function<Tensor(const std::string&)>& read) {
  std::map<std::string, TensorMap> by_embedding;
  for (const std::string& name : names) {
    if (!is_bundled_embedding(name, metadata)) continue;
    const std::string rest = starts_with(name, kBundlePrefix) ? name.substr(kBundlePrefix.size()) : name + ".";
    // The name may hold points: what follows it is one of the known forms.
    size_t point = rest.find('.');
    for (const std::string_view form : {".string_to_param", ".emb_params", ".clip_l", ".clip_g", ".text_encoders_"})
      if (const auto at = rest.rfind(form); at != std::string::npos) point = at;
    if (point == std::string::npos || point == 0) fail("the bundled embedding tensor " + name + " has no name");
    by_embedding[rest.substr(0, point)][rest.substr(point + 1)] = read(name);
  }
  std::vector<Embedding> embeddings;
  for (const auto& [name, tensors] : by_embedding) {
    for (Embedding& one : with_context("while reading the bundled embedding " + name, [&] { return from_tensors(name, tensors); })) {
      one.hash = lora_name;
      embeddings.push_back(std::move(one));
    }
  }
  return embeddings;
}

}  // namespace lorikeet

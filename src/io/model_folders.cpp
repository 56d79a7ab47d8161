#include "io/model_folders.h"

#include <algorithm>
#include <array>
#include <functional>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "io/tensor_file.h"

namespace fs = std::filesystem;

namespace lorikeet {

// Hashing a checkpoint takes seconds; its path, size and time of change say whether that is needed again.
struct ModelFolders::HashCache {
  std::mutex mutex;
  std::map<std::string, std::string> of_file, of_tensors;
};

namespace {
constexpr int kMostDepth = 12;

struct KindFolders {
  ModelKind kind;
  std::string_view label;
  std::vector<std::string_view> folders, extensions;  // the first two folders are A1111's and ComfyUI's
};

const KindFolders& of(ModelKind kind) {
  static const std::array<KindFolders, 4> table{{
      {ModelKind::checkpoint, "checkpoint", {"Stable-diffusion", "checkpoints"}, {".safetensors", ".ckpt", ".pt", ".pth", ".bin"}},
      {ModelKind::lora, "LoRA", {"Lora", "loras", "LyCORIS"}, {".safetensors", ".pt", ".ckpt", ".bin"}},
      {ModelKind::embedding, "embedding", {"embeddings"}, {".safetensors", ".pt", ".bin"}},
      {ModelKind::vae, "VAE", {"VAE", "vae"}, {".safetensors", ".pt", ".ckpt", ".pth", ".bin"}},
  }};
  return table[static_cast<size_t>(kind)];
}

bool is_folder(const fs::path& path) {
  std::error_code code;
  return fs::is_directory(path, code);
}

bool is_file(const fs::path& path) {
  std::error_code code;
  return fs::is_regular_file(path, code);
}

fs::path real(const fs::path& path) {
  std::error_code code;
  const fs::path result = fs::weakly_canonical(path, code);
  return code ? path : result;
}

// "model.vae.safetensors" beside "model.safetensors" is its VAE (A1111).
bool is_vae_beside(const fs::path& path) { return lower(path.stem().extension().string()) == ".vae"; }

bool has_extension(ModelKind kind, const fs::path& path) {
  const auto& known = of(kind).extensions;
  return std::find(known.begin(), known.end(), lower(path.extension().string())) != known.end();
}

// A folder that is one model as a whole: what stands for it as its path.
std::optional<fs::path> folder_as_model(ModelKind kind, const fs::path& folder) {
  if (kind == ModelKind::checkpoint && is_file(folder / "model_index.json")) return folder;
  if (kind == ModelKind::vae && is_file(folder / "config.json")) return folder;
  if (kind == ModelKind::lora && is_file(folder / "adapter_config.json"))
    for (const char* file : {"adapter_model.safetensors", "adapter_model.bin"})
      if (is_file(folder / file)) return folder / file;
  return std::nullopt;
}

// Embeddings come as pictures too (A1111); but a picture beside a model file is its preview.
bool is_embedding_picture(const fs::path& path) {
  const std::string extension = lower(path.extension().string());
  if ((extension != ".png" && extension != ".webp") || lower(path.stem().extension().string()) == ".preview") return false;
  return std::none_of(of(ModelKind::embedding).extensions.begin(), of(ModelKind::embedding).extensions.end(),
                      [&](std::string_view model) { return is_file(fs::path(path).replace_extension(model)); });
}

struct Walk {
  ModelKind kind;
  bool only_vae_beside;  // looking for VAEs among checkpoints
  fs::path top;
  std::set<fs::path> seen;  // real paths: links may run in circles
  std::vector<ModelFile> files;
  std::vector<std::string> faults;

  void add(const fs::path& at, const fs::path& path) {
    fs::path below = at.lexically_relative(top);
    if (!is_folder(at)) below.replace_extension();
    files.push_back({kind, below.generic_string(), path});
  }

  void walk(const fs::path& folder, int depth) {
    if (depth > kMostDepth || !seen.insert(real(folder)).second) return;
    std::error_code code;
    for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
      const fs::path& path = it->path();
      if (path.filename().string().starts_with('.')) continue;
      std::error_code missing;
      const fs::file_status status = it->status(missing);
      if (fs::is_directory(status)) {
        const auto model = only_vae_beside ? std::nullopt : folder_as_model(kind, path);
        model ? add(path, *model) : walk(path, depth + 1);
      } else if (fs::is_regular_file(status)) {
        add_file(path);
      } else if (has_extension(kind, path) && it->is_symlink(missing)) {
        faults.push_back(path.string() + " is a link to nothing");
      }
    }
    if (code) faults.push_back("the folder " + folder.string() + " cannot be read: " + code.message());
  }

  void add_file(const fs::path& path) {
    if (!has_extension(kind, path) && !(kind == ModelKind::embedding && is_embedding_picture(path))) return;
    const bool vae = is_vae_beside(path);
    if (only_vae_beside ? vae : kind != ModelKind::checkpoint || !vae) add(path, path);
  }
};

void append(std::vector<ModelFile>& to, std::vector<std::string>* faults, ModelKind kind, const fs::path& place, bool only_vae_beside) {
  Walk walk{kind, only_vae_beside, place, {}, {}, {}};
  walk.walk(place, 0);
  std::sort(walk.files.begin(), walk.files.end(),
            [](const auto& a, const auto& b) { return std::tie(a.name, a.path) < std::tie(b.name, b.path); });
  to.insert(to.end(), walk.files.begin(), walk.files.end());
  if (faults) faults->insert(faults->end(), walk.faults.begin(), walk.faults.end());
}

std::string with_extension(const ModelFile& file) { return is_folder(file.path) ? file.name : file.name + file.path.extension().string(); }

// "monet" is meant by "monet" and by "styles/monet"; "styles/monet" only by itself and by "old/styles/monet".
bool means(std::string_view full, std::string_view wanted) {
  return full == wanted || (full.size() > wanted.size() && ends_with(full, wanted) && full[full.size() - wanted.size() - 1] == '/');
}

std::map<std::string, std::string> metadata_of(const ModelFile& file) {
  try {
    return is_folder(file.path) ? std::map<std::string, std::string>{} : TensorFile::open(file.path)->metadata();
  } catch (const Error&) {
    return {};  // a damaged file among others has no alias; it is named when it is asked for itself
  }
}

std::string value_of(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string{} : found->second;
}

bool is_hash(std::string_view text) {
  const bool length = text.size() == 8 || text.size() == 10 || text.size() == 12 || text.size() == 64;
  return length && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

FoundModel choose(std::vector<ModelFile> matches, std::string_view wanted) {
  const auto rank = [](const ModelFile& file) {
    return std::pair(std::count(file.name.begin(), file.name.end(), '/'), lower(file.path.extension().string()) != ".safetensors");
  };
  std::stable_sort(matches.begin(), matches.end(), [&](const auto& a, const auto& b) { return rank(a).first < rank(b).first; });
  // Of equal names in one folder the safetensors file wins; a different folder keeps its place.
  for (size_t i = 1; i < matches.size(); ++i)
    if (matches[i].name == matches[0].name && matches[i].path.parent_path() == matches[0].path.parent_path() &&
        rank(matches[i]) < rank(matches[0]))
      std::swap(matches[0], matches[i]);
  FoundModel found{matches[0], {}};
  if (matches.size() > 1) {
    std::vector<std::string> others;
    for (size_t i = 1; i < matches.size(); ++i) others.push_back(matches[i].path.string());
    found.notes.push_back("\"" + std::string(wanted) + "\" is taken as " + matches[0].path.string() + "; it could also be " +
                          join(others, ", "));
  }
  return found;
}
}  // namespace

std::string_view name(ModelKind kind) { return of(kind).label; }

ModelFolders::ModelFolders() : hashes_(std::make_shared<HashCache>()) {}

void ModelFolders::add_root(const fs::path& root) {
  if (!is_folder(root))
    throw Error(ErrorKind::not_found, "there is no models folder " + root.string(), "name an existing folder with --models");
  roots_.push_back(root);
  for (const ModelKind kind : {ModelKind::checkpoint, ModelKind::lora, ModelKind::embedding, ModelKind::vae}) {
    std::vector<fs::path> bases{root, root / "models"};
    const bool a1111 = is_folder(root / "Stable-diffusion") || is_folder(root / "Lora");
    if (kind == ModelKind::embedding && a1111) bases.push_back(real(root).parent_path());
    for (const fs::path& base : bases)
      for (const std::string_view folder : of(kind).folders)
        if (is_folder(base / folder)) add_folder(kind, base / folder);
  }
}

void ModelFolders::add_folder(ModelKind kind, const fs::path& folder) {
  if (!is_folder(folder))
    throw Error(ErrorKind::not_found, "there is no folder " + folder.string() + " for a " + std::string(lorikeet::name(kind)));
  auto& places = places_[kind];
  const bool known = std::any_of(places.begin(), places.end(), [&](const fs::path& place) { return real(place) == real(folder); });
  if (!known) places.push_back(folder);
}

const std::vector<fs::path>& ModelFolders::places(ModelKind kind) const {
  static const std::vector<fs::path> none;
  const auto found = places_.find(kind);
  return found == places_.end() ? none : found->second;
}

std::vector<ModelFile> ModelFolders::list(ModelKind kind, std::vector<std::string>* faults) const {
  std::vector<ModelFile> files;
  for (const fs::path& place : places(kind)) append(files, faults, kind, place, false);
  if (kind == ModelKind::vae)
    for (const fs::path& place : places(ModelKind::checkpoint)) append(files, nullptr, kind, place, true);
  return files;
}

bool is_model_path(const fs::path& path) {
  std::error_code code;
  if (!fs::is_directory(path, code)) return fs::exists(path, code);
  return folder_as_model(ModelKind::checkpoint, path) || folder_as_model(ModelKind::vae, path) || folder_as_model(ModelKind::lora, path);
}

FoundModel ModelFolders::find(ModelKind kind, std::string_view name, bool with_paths) const {
  const std::string wanted = replace_all(std::string(trim(name)), "\\", "/");
  if (wanted.empty()) throw Error(ErrorKind::bad_input, "the name of a " + std::string(lorikeet::name(kind)) + " is empty");
  const fs::path path(name);
  std::error_code code;
  const bool is_there = with_paths && fs::exists(path, code);
  const auto as_path = [&]() -> FoundModel {
    return {{kind, fs::path(path).replace_extension().filename().generic_string(), folder_as_model(kind, path).value_or(path)}, {}};
  };
  const auto parts = split(wanted, '/');
  const bool leads_out = std::find(parts.begin(), parts.end(), "..") != parts.end();
  if (is_there && (leads_out || is_model_path(path))) return as_path();
  if (leads_out)
    throw Error(ErrorKind::bad_input, "\"" + wanted + "\" is not a name of a " + std::string(lorikeet::name(kind)),
                "a name cannot lead out of the folder with \"..\"");
  const auto files = list(kind);
  const auto matching = [&](const auto& matches) {
    std::vector<ModelFile> result;
    std::copy_if(files.begin(), files.end(), std::back_inserter(result), matches);
    return result;
  };
  std::map<fs::path, std::string> aliases;
  const auto alias = [&](const ModelFile& file) -> const std::string& {
    const auto known = aliases.find(file.path);
    return known != aliases.end() ? known->second : aliases[file.path] = value_of(metadata_of(file), "ss_output_name");
  };
  const std::string low = lower(wanted);
  const std::function<bool(const ModelFile&)> rules[] = {
      [&](const ModelFile& f) { return means(f.name, wanted) || means(with_extension(f), wanted); },
      [&](const ModelFile& f) { return kind == ModelKind::lora && alias(f) == wanted; },
      [&](const ModelFile& f) { return means(lower(f.name), low) || means(lower(with_extension(f)), low); },
      [&](const ModelFile& f) { return kind == ModelKind::lora && lower(alias(f)) == low; },
  };
  for (const auto& rule : rules)
    if (auto matches = matching(rule); !matches.empty()) return choose(std::move(matches), wanted);
  if (auto file = find_hash(kind, wanted)) return {*file, {}};
  if (is_there) return as_path();
  throw_missing(kind, wanted, files);
}

std::optional<ModelFile> ModelFolders::find_hash(ModelKind kind, std::string_view hash) const {
  const std::string wanted = lower(trim(hash));
  if (!is_hash(wanted)) return std::nullopt;
  const auto files = list(kind);
  if (wanted.size() >= 12)  // trust what the file says of itself before computing, as A1111 does
    for (const ModelFile& file : files)
      if (starts_with(value_of(metadata_of(file), "sshs_model_hash"), wanted)) return file;
  const std::lock_guard lock(hashes_->mutex);
  const auto cached = [](std::map<std::string, std::string>& known, const fs::path& path, std::string (*compute)(const fs::path&)) {
    std::error_code code;
    const std::string key = path.string() + "|" + std::to_string(fs::file_size(path, code)) + "|" +
                            std::to_string(fs::last_write_time(path, code).time_since_epoch().count());
    const auto found = known.find(key);
    return found != known.end() ? found->second : known[key] = compute(path);
  };
  for (const ModelFile& file : files) {
    if (!is_file(file.path)) continue;
    try {
      if (wanted.size() == 8 && legacy_model_hash(file.path) == wanted) return file;
      if ((wanted.size() == 10 || wanted.size() == 64) && starts_with(cached(hashes_->of_file, file.path, sha256_file), wanted))
        return file;
      if (wanted.size() >= 12 && starts_with(cached(hashes_->of_tensors, file.path, auto_v3), wanted)) return file;
    } catch (const Error&) {
      continue;  // a file that cannot be read is not the one
    }
  }
  return std::nullopt;
}

void ModelFolders::throw_missing(ModelKind kind, std::string_view name, const std::vector<ModelFile>& files) const {
  const std::string label(lorikeet::name(kind));
  std::vector<std::string> names, looked;
  for (const ModelFile& file : files) {
    names.push_back(file.name);
    if (const auto slash = file.name.rfind('/'); slash != std::string::npos) names.push_back(file.name.substr(slash + 1));
  }
  for (const fs::path& place : places(kind)) looked.push_back(place.string());
  std::string hint;
  if (looked.empty()) {
    for (const fs::path& root : roots_)
      for (const std::string_view folder : of(kind).folders) looked.push_back((root / folder).string());
    hint = looked.empty() ? "name a models folder with --models"
                          : "there is none of " + join(looked, ", ") + "; make one and put the file there";
  } else {
    const std::string near = did_you_mean(name, names);
    hint = (near.empty() ? "" : near + " ") + "looked in " + join(looked, ", ") + (files.empty() ? ", where there is none at all" : "");
  }
  throw Error(ErrorKind::not_found, "there is no " + label + " \"" + std::string(name) + "\"", hint);
}

}  // namespace lorikeet

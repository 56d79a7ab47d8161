#include "lora/reader.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

constexpr std::string_view kOtherCheckpoint = "choose a LoRA and a checkpoint of the same family";

// The rows of one projection out of a module for OpenCLIP's fused q, k, v. Kinds whose tensors have no output rows cannot be divided.
std::vector<NamedTensor> rows_of_part(std::vector<NamedTensor> tensors, int part, const std::string& module) {
  constexpr std::array<std::string_view, 7> kByRow{"lora_up.weight",       "hada_w1_a", "hada_w2_a", "diff", "diff_b", "dora_scale",
                                                   "lora_magnitude_vector"};
  constexpr std::array<std::string_view, 6> kShared{"lora_down.weight", "hada_w1_b", "hada_w2_b", "alpha", "scale", "lora_mid.weight"};
  for (auto& [name, tensor] : tensors) {
    if (std::ranges::find(kShared, name) != kShared.end()) continue;
    if (name == "dora_scale" && tensor.dim() >= 2 && tensor.size(0) == 1) continue;  // per input
    if (std::ranges::find(kByRow, name) == kByRow.end())
      throw Error(ErrorKind::unsupported,
                  module + " changes q, k and v of an attention together by " + name + ", which cannot be divided among them");
    if (tensor.dim() == 0 || tensor.size(0) % 3 != 0)
      throw Error(ErrorKind::bad_input,
                  module + "." + name + " of shape " + to_string(tensor.sizes()) + " should hold the rows of q, k and v");
    tensor = tensor.narrow(0, part * (tensor.size(0) / 3), tensor.size(0) / 3);
  }
  return tensors;
}

// "sd1" covers "sd1-inpaint" and the like.
bool other_family(const LoraReport& report, std::string_view family) {
  return !report.family.empty() && !family.empty() && !starts_with(family, report.family);
}

const Shape* find(const TensorShapes& shapes, std::string_view name, size_t dimensions) {
  const auto found = shapes.find(name);
  return found == shapes.end() || found->second.size() < dimensions ? nullptr : &found->second;
}

int64_t behind_first(const Shape& shape) {
  int64_t count = 1;
  for (size_t i = 1; i < shape.size(); ++i) count *= shape[i];
  return count;
}

int64_t kernel_of(const Shape* core) { return core ? (*core)[2] * (*core)[3] : 1; }

// One of LoKr's two factors.
std::optional<DeltaSize> kronecker_size(const TensorShapes& shapes, const std::string& name, const std::string& core_name) {
  if (const Shape* whole = find(shapes, name, 2)) return DeltaSize{(*whole)[0], behind_first(*whole)};
  const Shape *a = find(shapes, name + "_a", 2), *b = find(shapes, name + "_b", 2), *core = find(shapes, core_name, 4);
  if (!a || !b) return std::nullopt;
  return DeltaSize{core ? (*a)[1] : (*a)[0], (*b)[1] * kernel_of(core)};
}

std::optional<DeltaSize> glora_size(const TensorShapes& shapes) {
  const Shape *a1 = find(shapes, "a1.weight", 2), *a2 = find(shapes, "a2.weight", 2), *b1 = find(shapes, "b1.weight", 2),
              *b2 = find(shapes, "b2.weight", 2);
  if (!a1 || !a2 || !b1 || !b2) return std::nullopt;
  const bool old = (*b2)[1] == (*b1)[0] && (*b1)[0] == (*a1)[0] && (*a1)[0] == (*a2)[1];  // see kinds/glora.cpp
  const Shape &left = old ? *b2 : *b1, &right = old ? *b1 : *b2;
  return DeltaSize{left[0], behind_first(right)};
}

// The sides of the kernel where the file's tensors tell; nothing where they are matrices only.
std::optional<Shape> kernel_in_file(const TensorShapes& shapes) {
  for (std::string_view name : {"lora_mid.weight", "hada_t1", "lokr_t2", "lokr_w2", "diff", "lora_down.weight"})
    if (const Shape* shape = find(shapes, name, 4)) return Shape{(*shape)[2], (*shape)[3]};
  return std::nullopt;
}

// A layer without weights that a module with these tensors fits.
std::shared_ptr<Layer> layer_of_shapes(const std::string& path, const TensorShapes& shapes, int part, const Layer* known) {
  Shape shape = known ? known->base_weight().sizes().vec() : Shape{};
  LayerGeometry geometry = known ? known->geometry() : LayerGeometry{};
  if (auto size = delta_size(shapes)) {
    if (part >= 0) size->rows /= 3;
    Shape kernel = kernel_in_file(shapes).value_or(shape.size() == 4 ? Shape{shape[2], shape[3]} : Shape{});
    if (!kernel.empty() && size->columns % (kernel[0] * kernel[1]) != 0) kernel.clear();
    const bool is_norm = shapes.contains("w_norm");
    shape = is_norm ? Shape{size->rows} : Shape{size->rows, size->columns};
    if (!kernel.empty() && !is_norm) shape = {size->rows, size->columns / (kernel[0] * kernel[1]), kernel[0], kernel[1]};
    const bool embedding = geometry.op == LayerOp::embedding || shapes.contains("lora_embedding_A");
    geometry.op = shape.size() == 4 ? LayerOp::conv2d : is_norm ? LayerOp::layer_norm : embedding ? LayerOp::embedding : LayerOp::linear;
  }
  if (shape.empty()) return nullptr;
  // On the meta device nothing is packed.
  return std::make_shared<Layer>(path, geometry, torch::zeros({}).expand(shape), Tensor(), Compute{torch::kMeta});
}

}  // namespace

std::optional<DeltaSize> delta_size(const TensorShapes& shapes) {
  if (const Shape* down = find(shapes, "lora_down.weight", 2), *up = find(shapes, "lora_up.weight", 2); down && up)
    return DeltaSize{(*up)[0], behind_first(*down) * kernel_of(find(shapes, "lora_mid.weight", 4))};
  if (const Shape* a = find(shapes, "lora_embedding_A", 2), *b = find(shapes, "lora_embedding_B", 2); a && b)
    return DeltaSize{(*a)[1], (*b)[0]};
  if (const Shape* a = find(shapes, "hada_w1_a", 2), *b = find(shapes, "hada_w1_b", 2); a && b) {
    const Shape* core = find(shapes, "hada_t1", 4);
    return DeltaSize{core ? (*a)[1] : (*a)[0], (*b)[1] * kernel_of(core)};
  }
  if (const auto first = kronecker_size(shapes, "lokr_w1", "lokr_t1"), second = kronecker_size(shapes, "lokr_w2", "lokr_t2");
      first && second)
    return DeltaSize{first->rows * second->rows, first->columns * second->columns};
  if (const Shape* diff = find(shapes, "diff", 1)) return DeltaSize{(*diff)[0], behind_first(*diff)};
  if (const Shape* gain = find(shapes, "w_norm", 1)) return DeltaSize{(*gain)[0], 1};
  return glora_size(shapes);
}

LoraReader::LoraReader(std::shared_ptr<const LoraFile> file) : file_(std::move(file)) {
  report_.name = file_->name();
  report_.path = file_->path().string();
  report_.family = guess_family(*file_);
  report_.total = static_cast<int>(file_->modules().size());
}

void LoraReader::match(const LayerMap& layers) {
  const LoraKeyTable table(layers);
  for (const auto& [module, entries] : file_->modules()) {
    const auto places = table.find(module);
    if (places.empty()) report_.unmatched.push_back(module);
    for (const LoraPlace& place : places) matches_[place.path].push_back({module, place.part, place.naming});
  }
}

LoraReader::LoraReader(std::shared_ptr<const LoraFile> file, const LayerMap& layers, std::string_view family)
    : LoraReader(std::move(file)) {
  if (other_family(report_, family))
    throw Error(ErrorKind::bad_input, report_.name + " is made for " + report_.family + "; this checkpoint is " + std::string(family),
                std::string(kOtherCheckpoint));
  match(layers);
  if (matches_.empty())
    throw Error(ErrorKind::bad_input,
                "none of the " + std::to_string(report_.total) + " modules of " + report_.name + " matches a layer of this " +
                    std::string(family) + " model (first: " + report_.unmatched.front() + ")",
                std::string(kOtherCheckpoint));
  for (const auto& [path, matches] : matches_) layers_[path] = layers.at(path);
  report_.matched = report_.total - static_cast<int>(report_.unmatched.size());
}

LoraReader LoraReader::by_shapes(std::shared_ptr<const LoraFile> file, const LayerMap& known) {
  LoraReader reader(std::move(file));
  reader.has_weights_ = false;
  reader.match(known);
  for (const std::string& module : std::exchange(reader.report_.unmatched, {})) reader.matches_[module].push_back({module, -1, nullptr});
  for (auto match = reader.matches_.begin(); match != reader.matches_.end();) {
    const auto& [path, modules] = *match;
    TensorShapes shapes;
    for (const Match& one : modules) shapes.merge(reader.file_->shapes(one.module));
    const auto layer = known.find(path);
    auto made = layer_of_shapes(path, shapes, modules.front().part, layer == known.end() ? nullptr : layer->second.get());
    if (made) {
      reader.layers_[path] = std::move(made);
      ++match;
    } else {
      reader.report_.unmatched.push_back(modules.front().module);
      match = reader.matches_.erase(match);
    }
  }
  reader.report_.matched = reader.report_.total - static_cast<int>(reader.report_.unmatched.size());
  return reader;
}

const std::string& LoraReader::module(const std::string& path) const { return matches_.at(path).front().module; }
const LoraNaming* LoraReader::naming(const std::string& path) const { return matches_.at(path).front().naming; }

std::vector<NamedTensor> LoraReader::read(const std::string& path) const {
  const std::vector<Match>& matches = matches_.at(path);
  std::vector<NamedTensor> all;
  for (const Match& match : matches) {
    std::vector<NamedTensor> tensors = file_->read(match.module);
    if (match.part >= 0) tensors = rows_of_part(std::move(tensors), match.part, match.module);
    for (NamedTensor& tensor : tensors) {
      if (std::ranges::find(all, tensor.name, &NamedTensor::name) != all.end())
        throw Error(ErrorKind::bad_input, "the file has two modules for one layer: " + matches.front().module + " and " + match.module,
                    "keep one of the two spellings");
      all.push_back(std::move(tensor));
    }
  }
  return all;
}

ReadAdapter LoraReader::load(const std::string& path) const {
  TensorGroup group(module(path), read(path));
  ReadAdapter loaded{load_adapter(group, *layers_.at(path)), {}};
  for (const auto& [name, shape] : group.shapes()) loaded.unused.push_back(group.module() + "." + name);
  return loaded;
}

}  // namespace lorikeet

#include "lora/models.h"

#include <fstream>

#include "base/text.h"
#include "io/tensor_file.h"

namespace lorikeet::testing {
namespace {

LayerGeometry geometry_of(const std::string& path, const Tensor& weight) {
  LayerGeometry geometry;
  if (weight.dim() == 4) {
    geometry.op = LayerOp::conv2d;
    geometry.stride = path.find("downsamplers") != std::string::npos ? 2 : 1;
    geometry.padding = static_cast<int>(weight.size(2) / 2);
  } else if (weight.dim() == 1) {
    const bool grouped = path.find("resnets") != std::string::npos || ends_with(path, "conv_norm_out") || ends_with(path, ".norm");
    geometry.op = grouped ? LayerOp::group_norm : LayerOp::layer_norm;
    geometry.groups = 32;
  } else if (path.find("embeddings") != std::string::npos) {
    geometry.op = LayerOp::embedding;
  }
  return geometry;
}

constexpr std::string_view kWeight = ".weight";

void add_file(LayerMap& layers, const std::string& component, const std::string& path) {
  const auto file = TensorFile::open(golden(path));
  for (const auto& [name, entry] : file->tensors()) {
    if (!ends_with(name, kWeight)) continue;
    const std::string module = name.substr(0, name.size() - kWeight.size());
    const Tensor bias = file->contains(module + ".bias") ? file->read(module + ".bias") : Tensor();
    layers[component + "." + module] = layer_for(component + "." + module, file->read(name), bias);
  }
}

}  // namespace

std::string golden(const std::string& path) { return std::string(LORIKEET_GOLDEN_DIR) + "/" + path; }

nlohmann::json read_json(const std::string& path) {
  std::ifstream stream(golden(path));
  return nlohmann::json::parse(stream);
}

std::shared_ptr<Layer> layer_for(const std::string& path, const Tensor& weight, const Tensor& bias) {
  return std::make_shared<Layer>(path, geometry_of(path, weight), weight, bias, Compute{});
}

LayerMap shaped_model(const nlohmann::json& shapes, bool only_shapes) {
  LayerMap layers;
  for (const auto& [name, shape] : shapes.items()) {
    if (!ends_with(name, kWeight)) continue;
    const std::string path = name.substr(0, name.size() - kWeight.size());
    const Tensor weight = torch::zeros({}).expand(shape.get<Shape>());
    // An embedding keeps its weight as it is: nothing is converted or packed.
    const LayerGeometry geometry = only_shapes ? LayerGeometry{.op = LayerOp::embedding} : geometry_of(path, weight);
    layers[path] = std::make_shared<Layer>(path, geometry, weight, Tensor(), Compute{});
  }
  return layers;
}

LayerMap tiny_model(const std::string& name) {
  if (name != "sd1") return shaped_model(read_json("shapes/" + name + ".json"));
  LayerMap layers;
  add_file(layers, "unet", "sd1/diffusers/unet/diffusion_pytorch_model.safetensors");
  add_file(layers, "text_encoder", "sd1/diffusers/text_encoder/model.safetensors");
  return layers;
}

double relative_error(const Tensor& a, const Tensor& b) {
  const Tensor wanted = b.to(torch::kDouble);
  return ((a.to(torch::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

}  // namespace lorikeet::testing

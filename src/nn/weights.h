// A cursor into a checkpoint at one module path. Models take the layers they need from it; each layer enters the LayerMap
// under the very path that a LoRA will use.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "nn/layer.h"

namespace lorikeet {

// Where weights come from: a checkpoint in any layout answers for diffusers' parameter names.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // `name`: a full parameter name, "unet.conv_in.weight". Undefined tensor when the checkpoint has none.
  virtual Tensor find(const std::string& name) const = 0;
  // The same for a caller that knows which shape it needs (-1: any); a source of fresh weights makes them here.
  virtual Tensor find_shaped(const std::string& name, const Shape& /*shape*/) const { return find(name); }
  // What was read so far leaves memory until it is read again, where it lies in a file.
  virtual void release_pages() const {}
  // For errors: the file's name, and how it spells `name`.
  virtual std::string describe(const std::string& name) const = 0;
};

class Weights {
 public:
  Weights(const WeightSource& source, LayerMap& layers, Compute compute, std::string path = {});

  Weights operator/(std::string_view child) const;
  Weights operator/(int64_t index) const { return *this / std::to_string(index); }
  const std::string& path() const { return path_; }
  const Compute& compute() const { return *compute_; }

  bool has(std::string_view name) const;  // a parameter below this path
  // A bare parameter, as stored. Error{bad_input} names file, parameter, wanted and found shape; -1 in `shape` matches any size.
  Tensor take(std::string_view name, const Shape& shape) const;
  Tensor take_converted(std::string_view name, const Shape& shape) const;  // in the compute dtype, on the device

  // Layers; each is entered into the LayerMap. A linear may be stored as a 1×1 convolution and the other way round.
  std::shared_ptr<Layer> linear(int64_t in, int64_t out, bool bias = true) const;
  std::shared_ptr<Layer> conv2d(int64_t in, int64_t out, int kernel, int stride = 1, int padding = -1) const;  // padding -1: kernel / 2
  std::shared_ptr<Layer> group_norm(int64_t channels, int groups, double eps) const;
  std::shared_ptr<Layer> layer_norm(int64_t width, double eps = 1e-5) const;
  std::shared_ptr<Layer> embedding(int64_t count, int64_t width) const;

 private:
  std::shared_ptr<Layer> enter(LayerGeometry geometry, Tensor weight, Tensor bias) const;
  const WeightSource* source_;
  LayerMap* layers_;
  std::shared_ptr<Compute> compute_;
  std::string path_;
};

}  // namespace lorikeet

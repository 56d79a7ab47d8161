#include "guided.h"

#include "base/text.h"
#include "sampling/guidance.h"

namespace lorikeet::oracle {

GuidedNetwork::GuidedNetwork(std::shared_ptr<const Model> model, std::shared_ptr<const TensorFile> file, double guidance_scale,
                             Device device)
    : model_(std::move(model)), file_(std::move(file)), scale_(guidance_scale), device_(device) {}

// [B, …] of cond alone, or uncond's rows above cond's.
Tensor GuidedNetwork::rows(const std::string& cond, const std::string& uncond, int64_t count) const {
  const auto expanded = [&](const std::string& name) {
    const Tensor one = read(name);
    Shape sizes(one.sizes().begin(), one.sizes().end());
    sizes[0] = count;
    return one.expand(sizes);
  };
  return scale_ == 1 ? expanded(cond) : torch::cat({expanded(uncond), expanded(cond)});
}

GuidedNetwork::Outputs GuidedNetwork::operator()(const Tensor& x, double timestep) const {
  const int64_t count = x.size(0);
  UNetInput input;
  input.x = scale_ == 1 ? x : torch::cat({x, x});
  input.timestep = torch::full({input.x.size(0)}, timestep, x.options());
  input.context = rows("context_cond", "context_uncond", count);
  if (file_->contains("pooled_cond")) {
    input.pooled = rows("pooled_cond", "pooled_uncond", count);
    const Tensor ids = read("time_ids").to(torch::kFloat);  // [uncond, cond]
    input.time_ids = torch::cat({ids.slice(0, 0, 1).expand({input.x.size(0) - count, 6}), ids.slice(0, -1).expand({count, 6})});
  }
  const Tensor out = model_->unet->forward(input).to(torch::kFloat);
  if (scale_ == 1) return {out, out};
  return {out.slice(0, 0, count), out.slice(0, count)};
}

Tensor GuidedNetwork::guide(const Outputs& outputs) const {
  std::vector<GuidedPart> parts;
  for (int64_t i = 0; i < outputs.cond.size(0); ++i) parts.push_back({i, 1});
  return lorikeet::guide(outputs.uncond, outputs.cond, parts, scale_);
}

double metadata_number(const TensorFile& file, const std::string& key, double missing) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? missing : parse_double(found->second).value_or(missing);
}

std::string metadata_text(const TensorFile& file, const std::string& key, const std::string& missing) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? missing : found->second;
}

}  // namespace lorikeet::oracle

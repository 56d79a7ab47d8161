#include "training/adapter_trainable.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "training/random.h"
#include "training/targets.h"

namespace lorikeet {
namespace {

// What a kind makes of the settings; a setting that it does not know is refused, not passed over.
struct KindRules {
  std::string_view name;
  bool ranks, starts, neurons, factor,
      peft;  // has ranks; knows adapter inits; has activations to drop; lokr_factor; PEFT's format holds it
};
constexpr std::array<KindRules, 7> kRules{{
    {"lora", true, true, true, false, true},
    {"locon", true, true, true, false, true},
    {"dora", true, true, false, false, true},
    {"loha", true, false, false, false, false},
    {"lokr", true, false, false, true, false},
    {"ia3", false, false, false, false, false},
    {"full", false, false, false, false, false},
}};

const KindRules& rules_of(const std::string& kind) {
  std::vector<std::string> names;
  for (const KindRules& rules : kRules) {
    if (rules.name == kind) return rules;
    names.emplace_back(rules.name);
  }
  const std::string near = did_you_mean(kind, names);
  throw Error(ErrorKind::bad_input, "'" + kind + "' is no kind of adapter that can be trained",
              (near.empty() ? "" : near + " ") + "choose " + join(names, ", "));
}

void check_settings(const TrainConfig& config) {
  const KindRules& rules = rules_of(config.kind);
  const auto refuse = [&](bool asked, const std::string& setting, const std::string& hint) {
    if (asked) throw Error(ErrorKind::bad_input, setting + " does nothing with the kind '" + config.kind + "'", hint);
  };
  refuse(config.dropout > 0 && !rules.neurons, "dropout", "it has no activations between two factors; use rank_dropout or module_dropout");
  refuse(config.init != AdapterInit::kaiming && !rules.starts, "init", "only lora, locon and dora have a choice");
  refuse(config.lokr_factor != -1 && !rules.factor, "lokr_factor", "leave it at -1");
  refuse(config.rank_stabilised && !rules.ranks, "rank_stabilised", "it has no rank");
  refuse(config.lora_plus_ratio != 1 && !rules.ranks, "lora_plus_ratio", "it has no pair of factors");
  if (config.format == LoraFormat::peft && !rules.peft)
    throw Error(ErrorKind::bad_input, "PEFT's format does not hold adapters of the kind '" + config.kind + "'",
                "choose format kohya, or the kind lora or dora");
  for (const auto& [rate, name] :
       {std::pair(config.dropout, "dropout"), {config.rank_dropout, "rank_dropout"}, {config.module_dropout, "module_dropout"}})
    if (rate < 0 || rate >= 1)
      throw Error(ErrorKind::bad_input, std::string(name) + " is " + format_number(rate) + ", but has to be from 0 to below 1");
}

// A convolution whose alpha is not set gets the scale that the other layers have.
double alpha_for(const Layer& layer, int64_t rank, const TrainConfig& config) {
  if (has_kernel(layer) && config.conv_alpha) return *config.conv_alpha;
  if (!config.alpha) return static_cast<double>(rank);
  if (!has_kernel(layer)) return *config.alpha;
  const double share = static_cast<double>(config.conv_rank.value_or(config.rank)) / config.rank;
  return *config.alpha * (config.rank_stabilised ? std::sqrt(share) : share);
}

std::shared_ptr<Adapter> fresh_adapter(const Layer& layer, int64_t rank, const TrainConfig& config) {
  const std::string name = config.kind == "locon" ? "lora" : config.kind;
  const auto kind = std::ranges::find(adapter_kinds(), name, &AdapterKind::name);
  AdapterOptions options;
  options.rank = rank;
  options.alpha = alpha_for(layer, rank, config);
  options.rank_stabilised = config.rank_stabilised;
  options.init = config.init;
  options.lokr_factor = config.lokr_factor;
  options.generator = at::detail::createCPUGenerator(random_bits(static_cast<uint64_t>(config.seed), "adapter " + layer.path(), 0));
  std::shared_ptr<Adapter> adapter = kind->create(layer, options);
  if (!adapter)
    throw Error(ErrorKind::bad_input, "the kind '" + name + "' cannot be put on " + layer.path(),
                "leave it out of the targets, or choose the kind full");
  return adapter;
}

// alpha and flags are saved, but not trained.
bool is_trained(std::string_view tensor) { return tensor != "alpha" && tensor != "on_input"; }

// The factors that start at zero: those of which LoRA+ (Hayou et al. 2024, arXiv 2402.12354) wants the higher rate.
bool starts_at_zero(std::string_view tensor) {
  constexpr std::array<std::string_view, 4> kNames{"lora_up.weight", "hada_w2_a", "lokr_w2", "lokr_w2_a"};
  return std::ranges::find(kNames, tensor) != kNames.end();
}

// The group of a tensor: U-Net or text encoder, and what sets it apart there.
std::string group_of(const std::string& path, std::string_view tensor, const TrainConfig& config) {
  const std::string part = is_unet(path) ? "unet" : "text_encoder";
  if (tensor == "dora_scale") return part + "_magnitude";
  return config.lora_plus_ratio != 1 && starts_at_zero(tensor) ? part + "_up" : part;
}

ParameterGroup empty_group(const std::string& name, const TrainConfig& config) {
  ParameterGroup group{name, {}, config.learning_rate, config.weight_decay};
  if (starts_with(name, "text_encoder")) group.learning_rate = config.text_learning_rate.value_or(config.learning_rate);
  if (ends_with(name, "_up")) group.learning_rate *= config.lora_plus_ratio;
  // A magnitude that decays would pull the weight to zero, not back to the base.
  if (ends_with(name, "_magnitude")) group.weight_decay = 0;
  return group;
}

using Multiplier = std::shared_ptr<const double>;  // as it is at the time of a forward pass

// The short cut beside the layer.
RunTimeTerm term_of(const LayerGeometry& geometry, std::shared_ptr<const Adapter> adapter, const Dropout& dropout, bool drops_inside,
                    const Multiplier& multiplier) {
  const bool channels_first = geometry.op == LayerOp::conv2d;
  InnerChange change;
  if (dropout.any() && drops_inside) change = [dropout, channels_first](const Tensor& inner) { return dropout.on_inner(inner, channels_first); };
  return [adapter, dropout, channels_first, change, multiplier](const Layer& layer, const Tensor& x) -> Tensor {
    if (*multiplier == 0 || dropout.drops_module()) return {};  // no gradient: the optimiser leaves a dropped module as it is
    const Tensor added = *adapter->residual(layer, x, {}, change);
    const Tensor kept = dropout.any() && !change ? dropout.on_output(added, channels_first) : added;
    return *multiplier == 1 ? kept : kept * *multiplier;
  };
}

// The weight of a layer whose adapter has no short cut.
std::function<LiveWeight()> live_of(const Layer& layer, std::shared_ptr<const Adapter> adapter, const Dropout& dropout,
                                    const Multiplier& multiplier) {
  const auto there = [&](const Tensor& tensor) { return tensor.defined() ? tensor.to(layer.compute().device) : tensor; };
  return [weight = there(layer.base_weight()), bias = there(layer.base_bias()), adapter, dropout, multiplier]() -> LiveWeight {
    const Tensor base = weight.to(torch::kFloat), base_bias = bias.defined() ? bias.to(torch::kFloat) : bias;
    if (*multiplier == 0 || dropout.drops_module()) return {base, base_bias};
    Tensor changed = adapter->merge(base, *multiplier);
    if (dropout.drops_ranks()) changed = base + dropout.on_change(changed - base);
    return {changed, adapter->changes_bias() ? adapter->merge_bias(base_bias, *multiplier) : base_bias};
  };
}

// PEFT's format has no alpha beside a module's factors, only in a config. Readers that do not look there (diffusers before 0.35,
// stable-diffusion.cpp) take it for the rank: so it is, and the scale is a part of the second factor.
void make_alpha_the_rank(std::vector<NamedTensor>& tensors) {
  torch::NoGradGuard no_grad;
  const auto named = [&](std::string_view name) { return std::ranges::find(tensors, name, &NamedTensor::name); };
  const auto up = named("lora_up.weight"), alpha = named("alpha"), down = named("lora_down.weight");
  if (up == tensors.end() || alpha == tensors.end() || down == tensors.end()) return;
  const auto rank = static_cast<double>(down->tensor.size(0));
  up->tensor = up->tensor.detach() * (alpha->tensor.item<double>() / rank);
  alpha->tensor = torch::full_like(alpha->tensor, rank);
}

}  // namespace

AdapterTrainable::AdapterTrainable(const Networks& networks, const TrainConfig& config)
    : config_(config), text_encoders_(networks.text_encoders.size()) {
  torch::NoGradGuard no_grad;
  check_settings(config);
  const DropoutRates rates{config.dropout, config.rank_dropout, config.module_dropout};
  for (const auto& [path, rank] : selected_layers(networks.layers, config)) {
    const auto& layer = networks.layers.at(path);
    if (style().module(path).empty())
      throw Error(ErrorKind::bad_input, "the format " + std::string(style().name) + " has no word for " + path,
                  "leave it out of the targets");
    parts_.push_back({layer, fresh_adapter(*layer, rank, config), Dropout(rates, path, now_)});
    for (NamedTensor& named : parts_.back().adapter->tensors())
      if (is_trained(named.name)) named.tensor.set_requires_grad(true);
  }
}

AdapterTrainable::~AdapterTrainable() { detach(); }

std::vector<ParameterGroup> AdapterTrainable::groups() const {
  std::vector<ParameterGroup> groups;
  for (const Part& part : parts_) {
    for (const NamedTensor& named : part.adapter->tensors()) {
      if (!is_trained(named.name)) continue;
      const std::string name = group_of(part.layer->path(), named.name, config_);
      auto group = std::ranges::find(groups, name, &ParameterGroup::name);
      if (group == groups.end()) group = groups.insert(groups.end(), empty_group(name, config_));
      group->parameters.push_back({part.layer->path() + "." + named.name, named.tensor});
    }
  }
  // The U-Net first: its rate is the one that logs show.
  std::ranges::stable_sort(groups, {}, [](const ParameterGroup& group) { return !starts_with(group.name, "unet"); });
  return groups;
}

void AdapterTrainable::attach() {
  const bool drops_inside = rules_of(config_.kind).neurons;
  for (const Part& part : parts_) {
    if (part.adapter->has_residual())
      part.layer->set_run_time_terms({term_of(part.layer->geometry(), part.adapter, part.dropout, drops_inside, multiplier_)});
    else
      part.layer->set_live(live_of(*part.layer, part.adapter, part.dropout, multiplier_));
  }
  attached_ = true;
}

void AdapterTrainable::detach() {
  if (!attached_) return;
  for (const Part& part : parts_) {
    if (part.adapter->has_residual())
      part.layer->set_run_time_terms({});
    else
      part.layer->set_live({});
  }
  attached_ = false;
}

bool AdapterTrainable::trains_text() const {
  return std::ranges::any_of(parts_, [](const Part& part) { return is_text_encoder(part.layer->path()); });
}

const LoraStyle& AdapterTrainable::style() const {
  return config_.format == LoraFormat::peft ? find_lora_style("peft") : kohya_style(text_encoders_);
}

LoraContents AdapterTrainable::contents() const {
  LoraContents contents;
  for (const Part& part : parts_) contents.modules[part.layer->path()] = part.adapter->tensors();
  return contents;
}

void AdapterTrainable::save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const {
  LoraContents contents = this->contents();
  if (config_.format == LoraFormat::peft)
    for (auto& [module, tensors] : contents.modules) make_alpha_the_rank(tensors);
  contents.metadata = std::move(metadata);
  write_lora(path, contents, style(), dtype_of(config_.save_dtype));
}

std::string AdapterTrainable::describe() const {
  int64_t numbers = 0, in_unet = 0;
  std::set<int64_t> ranks;
  for (const Part& part : parts_) {
    in_unet += is_unet(part.layer->path());
    if (part.adapter->rank() > 0) ranks.insert(part.adapter->rank());
    for (const NamedTensor& named : part.adapter->tensors())
      if (is_trained(named.name)) numbers += named.tensor.numel();
  }
  std::string text = std::to_string(parts_.size()) + (parts_.size() == 1 ? " layer (" : " layers (") + std::to_string(in_unet) +
                     " of the U-Net), " + config_.kind;
  if (!ranks.empty())
    text += " of rank " + std::to_string(*ranks.begin()) + (ranks.size() > 1 ? " to " + std::to_string(*ranks.rbegin()) : "");
  return text + ", " + count_text(numbers) + " parameters";
}

Dtype dtype_of(SaveDtype dtype) {
  switch (dtype) {
    case SaveDtype::f16: return torch::kHalf;
    case SaveDtype::bf16: return torch::kBFloat16;
    case SaveDtype::f32: return torch::kFloat;
  }
  throw Error(ErrorKind::internal, "a dtype that is unknown");
}

std::string count_text(int64_t count) {
  const auto number = static_cast<double>(count);
  const auto rounded = [](double value) { return format_number(value < 10 ? std::round(value * 10) / 10 : std::round(value)); };
  if (number < 1e3) return std::to_string(count);
  return number < 1e6 ? rounded(number / 1e3) + " k" : number < 1e9 ? rounded(number / 1e6) + " M" : rounded(number / 1e9) + " G";
}

}  // namespace lorikeet

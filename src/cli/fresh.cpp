// lorikeet fresh: a checkpoint with untrained weights, of Stable Diffusion 1's kind and any size, to train from nothing.
#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "model/fresh_weights.h"

namespace lorikeet {

namespace {
struct FreshCommand {
  std::string output;
  uint64_t seed = 0;
  ModelSpec spec;
  ClipConfig text;
};

// What no layer could compute with.
void check(const FreshCommand& command) {
  const UNetConfig& unet = command.spec.unet;
  const auto refuse = [](const std::string& what, const std::string& hint) { throw Error(ErrorKind::bad_input, what, hint); };
  if (unet.channels.size() != 4) refuse("the U-Net needs 4 widths", "--unet-channels 320 640 1280 1280");
  if (command.spec.vae.channels.size() != 4) refuse("the autoencoder needs 4 widths", "--vae-channels 128 256 512 512");
  for (size_t i = 0; i < unet.channels.size(); ++i) {
    if (unet.channels[i] < 1 || unet.channels[i] % unet.heads[i] || unet.channels[i] % unet.groups)
      refuse("a level of " + std::to_string(unet.channels[i]) + " channels cannot have " + std::to_string(unet.heads[i]) + " heads and " +
                 std::to_string(unet.groups) + " groups",
             "choose widths that both divide");
  }
  for (const int64_t width : command.spec.vae.channels)
    if (width < 1 || width % command.spec.vae.groups) refuse(std::to_string(width) + " channels of the autoencoder do not fall into " + std::to_string(command.spec.vae.groups) + " groups", "choose --vae-groups that divides all widths");
  if (command.text.width < 1 || command.text.width % command.text.heads) refuse("the text encoder's width is not divisible by its heads", "choose another --text-heads");
}

double millions(const FreshWeights& fresh, const std::string& component) {
  int64_t count = 0;
  for (const auto& [name, tensor] : fresh.made())
    if (starts_with(name, component + ".")) count += tensor.numel();
  return static_cast<double>(count) * 1e-6;
}

int run_fresh(FreshCommand& command, Output& output) {
  ModelSpec& spec = command.spec;
  spec.family = "sd1";
  spec.prediction = "epsilon";
  spec.unet.heads.resize(spec.unet.channels.size(), spec.unet.heads.back());
  command.text.intermediate = 4 * command.text.width;
  spec.unet.context = command.text.width;
  check(command);
  spec.text_encoders = {command.text};
  const FreshWeights fresh(command.seed, FreshStart::training);
  write_fresh_checkpoint(command.output, spec, fresh);
  char text[200];
  std::snprintf(text, sizeof text, ": text encoder %.2f M, U-Net %.2f M, autoencoder %.2f M weights, untrained\n", millions(fresh, "text_encoder"),
                millions(fresh, "unet"), millions(fresh, "vae"));
  output.out << command.output << text;
  return 0;
}
}  // namespace

RunCommand define_fresh(CLI::App& app) {
  auto command = std::make_shared<FreshCommand>();
  app.add_option("-o,--output", command->output, "The checkpoint to write (.safetensors).")->required();
  app.add_option("--seed", command->seed, "Of the first weights.")->capture_default_str();
  app.add_option("--unet-channels", command->spec.unet.channels, "Widths of the U-Net's 4 levels.")->capture_default_str();
  app.add_option("--unet-heads", command->spec.unet.heads, "Attention heads of each level (one number: of all).")->capture_default_str();
  app.add_option("--unet-groups", command->spec.unet.groups, "Groups of the U-Net's group norms.")->capture_default_str();
  app.add_option("--vae-channels", command->spec.vae.channels, "Widths of the autoencoder's 4 levels.")->capture_default_str();
  app.add_option("--vae-groups", command->spec.vae.groups, "Groups of the autoencoder's group norms.")->capture_default_str();
  app.add_option("--text-width", command->text.width, "Width of the text encoder.")->capture_default_str();
  app.add_option("--text-layers", command->text.layers, "Layers of the text encoder.")->capture_default_str();
  app.add_option("--text-heads", command->text.heads, "Attention heads of the text encoder.")->capture_default_str();
  return [command](Output& output) { return run_fresh(*command, output); };
}

}  // namespace lorikeet

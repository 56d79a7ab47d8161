// oracle_check DIR: runs every case found under DIR against Lorikeet and reports the largest relative error of each.
// A group of cases is one file here and one line in groups(); a group looks at what lies in DIR, so that other seeds, shapes
// and prompts in the same layout are checked as well.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "io/tensor_file.h"
#include "model/spec.h"

namespace lorikeet::oracle {

constexpr double kNetworkBar = 1e-4;  // the reference's own float32 against float64 is up to 5e-6; products in another order give the rest
constexpr double kRunBar = 1e-3;      // whole runs: the network's error of each step, enlarged by guidance

constexpr double kDeltaBar = 1e-5;    // one product in float32; the reference's own float32 against float64 is up to 2e-6
constexpr double kSigmaBar = 1e-5;    // tables in float32

// Largest |a - b| over largest |b|; infinite when shapes differ or a is not finite.
double relative_error(const Tensor& actual, const Tensor& expected);
// Largest |a - b| / max(|b|, floor) over the elements; infinite when the sizes differ.
double relative_error_by_element(std::span<const double> actual, const Tensor& expected, double floor = 1e-3);

// Many things that agree exactly or not.
class Tally {
 public:
  void add(const std::string& what, bool agrees, const std::string& why = "differs") {
    ++compared_;
    if (!agrees) wrong_.push_back(what + " " + why);
  }
  int compared() const { return compared_; }
  const std::vector<std::string>& wrong() const { return wrong_; }

 private:
  int compared_ = 0;
  std::vector<std::string> wrong_;
};

class Check {
 public:
  // full: run what takes minutes and gigabytes as well.
  Check(std::filesystem::path root, Device device, bool full);

  const std::filesystem::path& root() const { return root_; }
  Device device() const { return device_; }
  bool full() const { return full_; }

  // Files below root whose path relative to it matches the regular expression; marks them as read.
  std::vector<std::filesystem::path> files(const std::string& pattern);
  void mark_read(const std::filesystem::path& file);
  std::vector<std::string> unread() const;  // files that no case has looked at

  // One line of the report. `error` is relative; the case passes when it is at most `bar`.
  void result(const std::string& name, double error, double bar);
  void fail(const std::string& name, const std::string& why);
  // A case that agrees exactly or not at all.
  void exact(const std::string& name, bool agrees, const std::string& why = "differs");
  // One case, of many things that all must agree; or, each_is_a_case, that many.
  void exact(const std::string& name, const Tally& tally, bool each_is_a_case = false);
  // A case that is left out; counts neither way.
  void skip(const std::string& name, const std::string& why);
  // Runs a case; an exception is its failure.
  void run(const std::string& name, const std::function<void()>& work);

  // The cases that follow belong to this group.
  void begin(std::string_view group);
  void print_summary() const;  // a line a group

  int passed() const;
  int failed() const;

 private:
  struct GroupSummary {
    std::string name;
    int passed = 0, failed = 0;
    double worst = 0;  // of the results
    std::string worst_case;
  };
  std::filesystem::path root_;
  Device device_;
  bool full_;
  std::set<std::filesystem::path> read_;
  std::vector<GroupSummary> groups_{{"", 0, 0, 0, ""}};
};

// A tiny (or full-size) model of the folder, in float32.
struct Model {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelSpec spec;
  LayerMap layers;
  std::vector<std::unique_ptr<ClipTextModel>> text_encoders;
  std::unique_ptr<UNet> unet;
  std::unique_ptr<Vae> vae;
};
std::shared_ptr<Model> load_model(const std::filesystem::path& checkpoint, Device device);
// The model called `name` in the folder ("sd1": sd1/sd1.safetensors or .ckpt, else sd1/diffusers); kept for later cases. Null when there is
// none.
std::shared_ptr<Model> model_named(Check& check, const std::string& name);

// --- reading ---

// Group `group` of the regular expression over the file's name; "" when it does not match.
std::string match(const std::filesystem::path& path, const std::string& pattern, int group = 1);
// float32 or int64 on the device.
Tensor read(const TensorFile& file, const std::string& name, Device device);
// sample, timestep, context and, where the file has them, pooled and time_ids.
UNetInput read_unet_input(const TensorFile& file, Device device);
// The place of the end token in each row of ids [B, T].
Tensor end_places(const Tensor& ids);
std::string read_text(const std::filesystem::path& path);

struct Group {
  std::string_view name;
  void (*run)(Check&);
};
std::span<const Group> groups();

void check_models(Check&);              // text encoders, U-Nets, autoencoders
void check_files(Check&);               // checkpoints and tensors in every file format, the tokenizer's vocabulary
void check_sigmas(Check&);              // noise schedules and timesteps
void check_sampling_kd(Check&);         // whole runs of k-diffusion as A1111 drives it
void check_sampling_diffusers(Check&);  // whole runs of diffusers
void check_prompts(Check&);             // the prompt language, tokens, conditioning
void check_loras(Check&);               // LoRA files of every kind on the small models
void check_full(Check&);                // full-size models: names; with --full the networks
void check_real(Check&);                // LoRA files that people have trained

}  // namespace lorikeet::oracle

// TrainConfig: everything that a person can ask of a training run, one line a setting. fields() is the one list: command-line flags, the
// TOML file, the run folder's copy, help, completion and range checks all come from it (io/fields.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/fields.h"
#include "lora/adapter.h"

namespace lorikeet {

// What is trained, and so what comes out.
enum class TrainMethod {
  lora,               // adapters: a LoRA file of a few MB
  textual_inversion,  // new words: an embedding of about 100 KB
  pivotal,            // both at once, the embedding bundled in the LoRA file
  slider,             // a LoRA whose multiplier moves one trait, learnt from prompts alone: no pictures
  full,               // every weight of U-Net and text encoder (DreamBooth): a checkpoint
  autoencoder         // every weight of the autoencoder: a checkpoint
};
enum class LossKind { mse, huber, smooth_l1 };
enum class LoraFormat { kohya, peft };
enum class SaveDtype { f16, bf16, f32 };
enum class BucketScaling { both, down };  // down: pictures smaller than their bucket are left small (kohya's bucket_no_upscale)

std::span<const Choice> choices(TrainMethod);
std::span<const Choice> choices(AdapterInit);
std::span<const Choice> choices(LossKind);
std::span<const Choice> choices(LoraFormat);
std::span<const Choice> choices(SaveDtype);
std::span<const Choice> choices(BucketScaling);
std::span<const Choice> kind_choices();         // the adapter_kinds() that can be trained; "locon" is lora with targets all
std::span<const Choice> optimizer_choices();    // optimizers() of training/optimizer.h
std::span<const Choice> lr_schedule_choices();  // lr_schedules() of training/lr_schedule.h
std::span<const Choice> precision_choices();    // of the arithmetic, as everywhere: auto, f32, bf16, f16
std::span<const Choice> prediction_choices();   // "", epsilon, v

struct TrainConfig {
  // The run.
  std::string model, vae;       // checkpoint by name or path; another autoencoder
  std::string out;              // name of the LoRA, and so of its file; "": the name of the pictures' folder
  std::string run_dir;          // "": runs/<out>
  TrainMethod method = TrainMethod::lora;
  int64_t seed = 0;             // >= 0; the same seed and settings give the same file
  std::string device = "auto", precision = "auto";
  int threads = 0, procs = 1;   // procs: processes of this machine, data-parallel
  bool install = true;          // copy the finished file to the models folder too

  // What is trained.
  std::string kind = "lora";
  int rank = 8;
  std::optional<double> alpha;           // unset: rank (scale 1)
  std::optional<int> conv_rank;          // of convolutions larger than 1×1; unset: rank
  std::optional<double> conv_alpha;      // unset: the same scale as elsewhere
  bool rank_stabilised = false;          // scale alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732)
  AdapterInit init = AdapterInit::kaiming;
  std::string targets = "attention+ff";  // a row of target_presets(), or regex:<pattern> over module paths
  std::vector<std::string> block_ranks;  // "pattern=rank": modules whose path contains a match of the pattern; rank 0: left out; the last match rules
  int lokr_factor = -1;                  // of LoKr's small matrix; -1: as square as possible
  bool train_unet = true, train_text_encoder = true;
  double dropout = 0, rank_dropout = 0, module_dropout = 0;
  std::string token;                     // textual inversion and pivotal: the new word; "": the trigger
  int vectors = 1;                       // of the new word
  std::string initial_text;              // what the new word means at first; "": "*" as in the original

  // The slider (Gandikota et al. 2023, arXiv 2311.12092; training/slider_objective.h).
  std::string slider_target;             // where it acts: "person"
  std::string slider_positive, slider_negative;  // more of what with multipliers above 0, and below: "old person", "young person"
  std::string slider_neutral;            // what the change is added to; "": the target
  std::vector<std::string> slider_preserve;  // put behind positive and negative in turn, so that the trait is told apart from them
  double slider_strength = 4;            // the paper's eta
  int denoising_steps = 8;               // of the whole way from noise to picture, on which a step stops somewhere

  // The pictures.
  std::string images;                    // folder, or .jsonl file
  std::string trigger;                   // put before each caption that lacks it; the whole caption where there is none
  std::string class_images, class_prompt;  // prior preservation; folder missing or short of pictures: they are made first
  int class_count = 100;
  double prior_loss_weight = 1;
  std::string validation_images;         // folder of held-out pictures
  double validation_share = 0;           // 0…0.5 of the pictures are held out
  int repeats = 1;
  int width = 0, height = 0;             // px, the area that buckets keep; 0: the size that the checkpoint was trained at
  bool buckets = true;
  int bucket_step = 64, bucket_least = 256, bucket_most = 1024;  // px
  BucketScaling bucket_scaling = BucketScaling::both;
  bool flip = false;
  bool masks = false;                    // <name>.mask.png or <name>-masklabel.png beside the picture, or its alpha channel, weighs the loss
  bool shuffle_tags = false;
  int keep_tags = 1;                     // so many tags stay in front
  double caption_dropout = 0, tag_dropout = 0;
  int caption_variants = 8;              // shuffled variants of each caption whose encoding is cached
  bool cache_latents = true, cache_text = true;
  bool strict = false;                   // a broken picture stops the run instead of being skipped
  int clip_skip = 0;                     // 0: as the model wants it

  // Loss.
  LossKind loss = LossKind::mse;
  double huber_delta = 0.1;
  double min_snr_gamma = 0;              // 0: off (Hang et al. 2023, arXiv 2303.09556: 5)
  bool debiased = false;
  double noise_offset = 0;
  int multires_iterations = 0;
  double multires_discount = 0.3;
  bool zero_terminal_snr = false;
  std::string prediction;                // "": as the checkpoint has it; epsilon | v
  int timestep_least = 0, timestep_most = 999;

  // Steps.
  std::string optimizer = "adamw";
  double learning_rate = 1e-4;
  std::optional<double> text_learning_rate, embedding_learning_rate;  // unset: learning_rate; embeddings 5e-3
  double lora_plus_ratio = 1;            // learning rate of up over that of down (Hayou et al. 2024, arXiv 2402.12354)
  std::string lr_schedule = "constant";
  int warmup_steps = 0, lr_cycles = 1;
  double lr_power = 1;
  double weight_decay = 0.01;
  std::optional<double> beta1, beta2;    // unset: the optimiser's own
  int batch_size = 1, accumulation = 1;
  double max_grad_norm = 1;              // 0: no clipping
  double ema_decay = 0;                  // 0: off
  int steps = 0;                         // 0: from epochs
  int epochs = 10;
  bool gradient_checkpointing = false;

  // Trust.
  int backup_every = 100, keep_backups = 2;     // steps; rolling
  int validate_every = 0, validation_pictures = 16;  // 0: never
  int sample_every = 0;                         // steps; 0: never
  std::vector<std::string> sample_prompts;      // none: the trigger
  int save_every = 0;                           // steps; keeps <out>-000100.safetensors

  // The file.
  LoraFormat format = LoraFormat::kohya;
  SaveDtype save_dtype = SaveDtype::f16;
  std::string title, comment, author;

  bool operator==(const TrainConfig&) const = default;
};

namespace train_group {
inline constexpr FieldGroup run{"run", "Run"}, what{"what", "What is trained"}, slider{"slider", "Slider"}, pictures{"pictures", "Pictures"},
    loss{"loss", "Loss"}, steps{"steps", "Steps"}, trust{"trust", "Backups, validation, samples"}, file{"file", "File"};
}

// Calls v(member, field) for every setting. C is TrainConfig or const TrainConfig.
template <class V, SameSettings<TrainConfig> C>
void fields(V& v, C& c) {
  using namespace train_group;
  constexpr double kAny = std::numeric_limits<double>::max(), kMostSteps = 1e9;
  // A setting is one line.
  // clang-format off
  v(c.model, {.name = "model", .help = "The checkpoint to train on: a name in the models folder, or a file.", .group = run, .flags = "-m"});
  v(c.vae, {.name = "vae", .help = "Another autoencoder than the checkpoint's own.", .group = run});
  v(c.out, {.name = "out", .help = "Name of what is trained, and so of its file and of its tag <lora:NAME>; empty: the name of the pictures' folder.", .group = run, .flags = "-o,--output"});
  v(c.run_dir, {.name = "run_dir", .help = "Folder of the run: settings, backups, logs, samples; empty: runs/ and the name.", .group = run});
  v(c.method, {.name = "method", .help = "What comes out: a LoRA (some MB), an embedding of new words (some 100 KB), both in one file, a LoRA that moves one trait, or a whole checkpoint.", .group = run});
  v(c.seed, {.name = "seed", .help = "The same seed and settings give the same file.", .group = run, .range = {0, kAny}});
  v(c.device, {.name = "device", .help = "auto, cpu, cuda or cuda:N.", .group = run});
  v(c.precision, {.name = "precision", .help = "Of the frozen networks' arithmetic; what is trained is always in float32.", .group = run, .choices = precision_choices});
  v(c.threads, {.name = "threads", .help = "Threads of the CPU; 0: one a core.", .group = run, .range = {0, 1024}});
  v(c.procs, {.name = "procs", .help = "Processes of this machine that train together, each with its own batch.", .group = run, .range = {1, 256}});
  v(c.install, {.name = "install", .help = "Copy the finished file to the models folder too, not only into the run's.", .group = run});

  v(c.kind, {.name = "kind", .help = "Form of the LoRA.", .group = what, .choices = kind_choices});
  v(c.rank, {.name = "rank", .help = "Rank of the change in each layer: how much it can hold.", .group = what, .range = {1, 4096}, .flags = "-r,--dim"});
  v(c.alpha, {.name = "alpha", .help = "The change is scaled by alpha / rank; unset: by 1.", .group = what, .range = {0.001, 65536}});
  v(c.conv_rank, {.name = "conv_rank", .help = "Rank in convolutions larger than 1×1; unset: rank.", .group = what, .range = {1, 4096}});
  v(c.conv_alpha, {.name = "conv_alpha", .help = "Alpha of convolutions larger than 1×1; unset: the same scale as elsewhere.", .group = what, .range = {0.001, 65536}});
  v(c.rank_stabilised, {.name = "rank_stabilised", .help = "Scale by alpha / √rank, so that high ranks learn as fast (rsLoRA).", .group = what, .flags = "--rslora"});
  v(c.init, {.name = "init", .help = "How the factor that does not start at zero is drawn.", .group = what});
  v(c.targets, {.name = "targets", .help = "Which layers: cross-attention, attention, attention+ff, all, or regex:PATTERN over their paths.", .group = what});
  v(c.block_ranks, {.name = "block_ranks", .help = "PATTERN=RANK: another rank where the path matches, 0: left out; the last match rules. May be given several times.", .group = what, .flags = "--block-rank"});
  v(c.lokr_factor, {.name = "lokr_factor", .help = "Side of LoKr's small matrix; -1: as square as possible.", .group = what, .range = {-1, 4096}});
  v(c.train_unet, {.name = "train_unet", .help = "Train the U-Net.", .group = what});
  v(c.train_text_encoder, {.name = "train_text_encoder", .help = "Train the text encoders; a slider leaves them alone.", .group = what, .flags = "--train-te"});
  v(c.dropout, {.name = "dropout", .help = "Share of the change's inner values that are dropped at each step.", .group = what, .range = {0, 0.99}});
  v(c.rank_dropout, {.name = "rank_dropout", .help = "Share of ranks that are dropped at each step.", .group = what, .range = {0, 0.99}});
  v(c.module_dropout, {.name = "module_dropout", .help = "Share of layers that are left alone at each step.", .group = what, .range = {0, 0.99}});
  v(c.token, {.name = "token", .help = "The new word of textual inversion and pivotal tuning; empty: the trigger.", .group = what});
  v(c.vectors, {.name = "vectors", .help = "How many vectors the new word has.", .group = what, .range = {1, 75}});
  v(c.initial_text, {.name = "initial_text", .help = "What the new word means at first; empty: \"*\".", .group = what});

  v(c.slider_target, {.name = "slider_target", .help = "Prompt of what the slider acts on: \"person\".", .group = slider, .flags = "--target"});
  v(c.slider_positive, {.name = "slider_positive", .help = "Prompt of what multipliers above 0 give more of: \"old person\".", .group = slider, .flags = "--positive"});
  v(c.slider_negative, {.name = "slider_negative", .help = "Prompt of what multipliers below 0 give more of: \"young person\".", .group = slider, .flags = "--negative"});
  v(c.slider_neutral, {.name = "slider_neutral", .help = "Prompt whose pictures the change starts from; empty: the target.", .group = slider, .flags = "--neutral"});
  v(c.slider_preserve, {.name = "slider_preserve", .help = "What is to stay as it is: put behind positive and negative, and averaged over. May be given several times.", .group = slider, .flags = "--preserve"});
  v(c.slider_strength, {.name = "slider_strength", .help = "How far multiplier 1 goes: times the difference of positive and negative.", .group = slider, .range = {0.01, 100}});
  v(c.denoising_steps, {.name = "denoising_steps", .help = "Steps from noise to picture; training looks somewhere on the way.", .group = slider, .range = {1, 1000}});

  v(c.images, {.name = "images", .help = "Folder of the pictures with .txt or .caption files beside them, or a .jsonl file.", .group = pictures, .flags = "--pictures"});
  v(c.trigger, {.name = "trigger", .help = "Word that calls what is trained: put before captions that lack it, and the caption of pictures without one.", .group = pictures});
  v(c.class_images, {.name = "class_images", .help = "Prior preservation: folder of pictures of the class; made first where there are too few.", .group = pictures});
  v(c.class_prompt, {.name = "class_prompt", .help = "Caption of the class pictures: \"a robot\".", .group = pictures});
  v(c.class_count, {.name = "class_count", .help = "How many class pictures.", .group = pictures, .range = {1, 100000}});
  v(c.prior_loss_weight, {.name = "prior_loss_weight", .help = "Weight of the class pictures' loss.", .group = pictures, .range = {0, 1000}});
  v(c.validation_images, {.name = "validation_images", .help = "Folder of pictures that are held out and only measured.", .group = pictures});
  v(c.validation_share, {.name = "validation_share", .help = "Hold out this share of the pictures.", .group = pictures, .range = {0, 0.5}});
  v(c.repeats, {.name = "repeats", .help = "How often an epoch goes through each picture.", .group = pictures, .range = {1, 100000}});
  v(c.width, {.name = "width", .help = "Width in pixels; with buckets, width times height is the area that they keep; 0: as the checkpoint was trained.", .group = pictures, .range = {64, 4096, true}, .flags = "-W"});
  v(c.height, {.name = "height", .help = "Height in pixels; 0: as the checkpoint was trained.", .group = pictures, .range = {64, 4096, true}, .flags = "-H"});
  v(c.buckets, {.name = "buckets", .help = "Train each picture in a size of nearly its own shape instead of cutting all to one.", .group = pictures});
  v(c.bucket_step, {.name = "bucket_step", .help = "Sides of buckets are multiples of this many pixels.", .group = pictures, .range = {8, 1024}});
  v(c.bucket_least, {.name = "bucket_least", .help = "Shortest side of a bucket in pixels.", .group = pictures, .range = {64, 8192}});
  v(c.bucket_most, {.name = "bucket_most", .help = "Longest side of a bucket in pixels.", .group = pictures, .range = {64, 8192}});
  v(c.bucket_scaling, {.name = "bucket_scaling", .help = "both: scale pictures to their bucket; down: leave small ones small.", .group = pictures});
  v(c.flip, {.name = "flip", .help = "Mirror half of the pictures, left to right.", .group = pictures});
  v(c.masks, {.name = "masks", .help = "NAME.mask.png or NAME-masklabel.png beside a picture, or its alpha channel, weighs the loss.", .group = pictures});
  v(c.shuffle_tags, {.name = "shuffle_tags", .help = "Shuffle the tags of captions at each step.", .group = pictures});
  v(c.keep_tags, {.name = "keep_tags", .help = "So many tags stay in front, neither shuffled nor dropped.", .group = pictures, .range = {0, 1000}});
  v(c.caption_dropout, {.name = "caption_dropout", .help = "Share of steps without any caption.", .group = pictures, .range = {0, 1}});
  v(c.tag_dropout, {.name = "tag_dropout", .help = "Share of tags that are left out.", .group = pictures, .range = {0, 1}});
  v(c.caption_variants, {.name = "caption_variants", .help = "How many shuffled variants of each caption are encoded in advance.", .group = pictures, .range = {1, 10000}});
  v(c.cache_latents, {.name = "cache_latents", .help = "Encode each picture once, and keep that in the run's folder.", .group = pictures});
  v(c.cache_text, {.name = "cache_text", .help = "Encode captions once where no text encoder is trained.", .group = pictures});
  v(c.strict, {.name = "strict", .help = "A broken picture stops the run instead of being skipped.", .group = pictures});
  v(c.clip_skip, {.name = "clip_skip", .help = "Which layer of the text encoder from the end; 0: as the model wants it.", .group = pictures, .range = {0, 12}});

  v(c.loss, {.name = "loss", .help = "How a difference counts: squared, or milder where it is large.", .group = loss});
  v(c.huber_delta, {.name = "huber_delta", .help = "From where on the milder losses are linear.", .group = loss, .range = {0.0001, 1000}});
  v(c.min_snr_gamma, {.name = "min_snr_gamma", .help = "Caps the weight of timesteps with little noise; 5 is usual, 0: off.", .group = loss, .range = {0, 1000}});
  v(c.debiased, {.name = "debiased", .help = "Weigh timesteps by 1 / √SNR.", .group = loss, .flags = "--debiased-estimation"});
  v(c.noise_offset, {.name = "noise_offset", .help = "Moves each channel of the noise as a whole, for darker darks; 0.05 to 0.1 is usual.", .group = loss, .range = {0, 1}});
  v(c.multires_iterations, {.name = "multires_iterations", .help = "Adds noise of so many coarser sizes; 6 is usual, 0: off.", .group = loss, .range = {0, 32}});
  v(c.multires_discount, {.name = "multires_discount", .help = "How much weaker each coarser size is.", .group = loss, .range = {0, 1}});
  v(c.zero_terminal_snr, {.name = "zero_terminal_snr", .help = "Noise up to no picture at all; for v-prediction.", .group = loss});
  v(c.prediction, {.name = "prediction", .help = "What the network predicts, epsilon or v; empty: as the checkpoint says.", .group = loss, .choices = prediction_choices});
  v(c.timestep_least, {.name = "timestep_least", .help = "Train from this timestep on.", .group = loss, .range = {0, 999}});
  v(c.timestep_most, {.name = "timestep_most", .help = "Train up to this timestep.", .group = loss, .range = {0, 999}});

  v(c.optimizer, {.name = "optimizer", .help = "Lion wants about a tenth of AdamW's learning rate; Prodigy wants 1.", .group = steps, .choices = optimizer_choices});
  v(c.learning_rate, {.name = "learning_rate", .help = "Learning rate.", .group = steps, .range = {0, 100}, .flags = "--lr"});
  v(c.text_learning_rate, {.name = "text_learning_rate", .help = "Learning rate of the text encoders; unset: learning_rate.", .group = steps, .range = {0, 100}, .flags = "--text-lr"});
  v(c.embedding_learning_rate, {.name = "embedding_learning_rate", .help = "Learning rate of new words; unset: 0.005.", .group = steps, .range = {0, 100}, .flags = "--embedding-lr"});
  v(c.lora_plus_ratio, {.name = "lora_plus_ratio", .help = "LoRA+: learning rate of the second factor over that of the first; 16 is usual.", .group = steps, .range = {0.001, 10000}});
  v(c.lr_schedule, {.name = "lr_schedule", .help = "Course of the learning rate.", .group = steps, .choices = lr_schedule_choices});
  v(c.warmup_steps, {.name = "warmup_steps", .help = "The learning rate rises from 0 over so many steps.", .group = steps, .range = {0, kMostSteps}, .flags = "--warmup"});
  v(c.lr_cycles, {.name = "lr_cycles", .help = "How often cosine_with_restarts starts anew.", .group = steps, .range = {1, 1000}});
  v(c.lr_power, {.name = "lr_power", .help = "Exponent of polynomial.", .group = steps, .range = {0.01, 100}});
  v(c.weight_decay, {.name = "weight_decay", .help = "Pulls what is trained towards zero.", .group = steps, .range = {0, 100}});
  v(c.beta1, {.name = "beta1", .help = "How long the optimiser remembers gradients; unset: as usual for it.", .group = steps, .range = {0, 0.999999}});
  v(c.beta2, {.name = "beta2", .help = "How long the optimiser remembers their squares; unset: as usual for it.", .group = steps, .range = {0, 0.999999}});
  v(c.batch_size, {.name = "batch_size", .help = "Pictures seen together, in each process.", .group = steps, .range = {1, 4096}, .flags = "-b"});
  v(c.accumulation, {.name = "accumulation", .help = "Batches whose gradients are added up for one step.", .group = steps, .range = {1, 65536}});
  v(c.max_grad_norm, {.name = "max_grad_norm", .help = "Longer gradients are shortened to this; 0: never.", .group = steps, .range = {0, 1e9}});
  v(c.ema_decay, {.name = "ema_decay", .help = "Keep a moving average of what is trained, and save that; 0.999 is usual, 0: off.", .group = steps, .range = {0, 0.999999}});
  v(c.steps, {.name = "steps", .help = "Number of steps; 0: from epochs.", .group = steps, .range = {0, kMostSteps}, .flags = "-s"});
  v(c.epochs, {.name = "epochs", .help = "How often to go through all pictures.", .group = steps, .range = {1, 1000000}, .flags = "-e"});
  v(c.gradient_checkpointing, {.name = "gradient_checkpointing", .help = "Less memory, more time: activations are computed again on the way back.", .group = steps});

  v(c.backup_every, {.name = "backup_every", .help = "Steps between two backups, from which --resume goes on exactly.", .group = trust, .range = {1, kMostSteps}});
  v(c.keep_backups, {.name = "keep_backups", .help = "How many backups are kept.", .group = trust, .range = {1, 1000}});
  v(c.validate_every, {.name = "validate_every", .help = "Steps between two measurements with fixed noise; 0: never.", .group = trust, .range = {0, kMostSteps}});
  v(c.validation_pictures, {.name = "validation_pictures", .help = "How many pictures are measured, of those trained on and of those held out.", .group = trust, .range = {1, 100000}});
  v(c.sample_every, {.name = "sample_every", .help = "Steps between two sheets of sample pictures; 0: never.", .group = trust, .range = {0, kMostSteps}});
  v(c.sample_prompts, {.name = "sample_prompts", .help = "Prompt of a sample picture; none: the trigger. May be given several times.", .group = trust, .flags = "--sample-prompt"});
  v(c.save_every, {.name = "save_every", .help = "Steps between two finished files that are kept, NAME-000100.safetensors; 0: the last one only.", .group = trust, .range = {0, kMostSteps}});

  v(c.format, {.name = "format", .help = "Whose keys the LoRA file has; kohya's are read everywhere.", .group = file});
  v(c.save_dtype, {.name = "save_dtype", .help = "Type of the numbers in the file.", .group = file});
  v(c.title, {.name = "title", .help = "Title for the file's metadata.", .group = file});
  v(c.comment, {.name = "comment", .help = "Comment for the file's metadata.", .group = file});
  v(c.author, {.name = "author", .help = "Author for the file's metadata.", .group = file});
  // clang-format on
}

// The list of settings without templates, with the defaults.
std::span<const FieldInfo> train_field_list();
// Those of them that have an effect with this method, whatever the others are.
std::vector<FieldInfo> train_field_list(TrainMethod method);

// The method trains adapters, and writes a LoRA.
bool trains_adapters(TrainMethod method);
bool takes_pictures(TrainMethod method);
bool trains_word(TrainMethod method);

// Checks each setting and what hangs together, and settles what follows from others: out, run_dir, token and conv_alpha are filled in, of a
// slider steps and slider_neutral too. A
// setting that was changed but has no effect with the others is an error too (what single kinds of adapters make of it is found when they are
// made). Error{bad_input} names the setting and says what would do. checked(checked(c)) is checked(c).
TrainConfig checked(TrainConfig config);

// A complete file: every setting below its group, each after its help as a comment; what is unset is commented out.
std::string to_toml(const TrainConfig& config);
// Starts from `base` and changes what is given; settings stand below their group or, in a short file, below none. Error{bad_input} with the
// line: no TOML, an unknown setting or group (with the near ones), a setting of another group or given twice, a wrong type.
// Error{unsupported} in an engine-only build that was made without toml++.
TrainConfig from_toml(std::string_view text, const TrainConfig& base = {});
// The same from a file, which the errors name.
TrainConfig read_train_config(const std::filesystem::path& path, const TrainConfig& base = {});

}  // namespace lorikeet

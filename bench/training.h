// One step of training a LoRA on a full-size SD1.5: time and memory.
#pragma once
#include <filesystem>
#include <string>

namespace lorikeet {

struct TrainingCase {
  int side_px = 512;               // of the picture, a multiple of 64
  std::string precision = "bf16";  // of the frozen U-Net: bf16 | f32; the LoRA is float32
  bool recompute = false;          // gradient checkpointing
};

struct TrainingFigures {
  double seconds = 0;  // a step: forward, backward, AdamW; the better of two after one that is not counted
  long peak_mb = 0;    // of the process, from before the U-Net is loaded to the last step
};

// Rank 8 on all linear layers of the U-Net's transformer blocks (attention and feed-forward), batch 1, latents and text encodings given.
TrainingFigures measure_training(const std::filesystem::path& checkpoint, const std::string& device, const TrainingCase& what);

// The largest amount of memory that the process had so far, or since reset_peak_memory(), which first gives back what is free. 0 where
// the system does not say.
long peak_memory_mb();
void reset_peak_memory();

}  // namespace lorikeet

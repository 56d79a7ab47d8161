// Concept sliders (Gandikota et al. 2023, "Concept Sliders", arXiv 2311.12092): a LoRA whose multiplier moves one trait, learnt from prompts
// alone. At a point x of the way from noise to a picture of the target, with the LoRA at multiplier m = ±1, the network's answer to the
// target is to be (eq. 8, the sum over the preserved concepts p taken as their mean)
//   base(x, neutral) + m · strength · mean over p of (base(x, "positive, p") − base(x, "negative, p"))
// where base is the network without the LoRA. Answers are eps or v, whatever the model predicts: at one x they differ by the same factor.
#pragma once
#include <memory>

#include "training/objective.h"

namespace lorikeet {

// The rows of its dataset() are noises to start from, not pictures: no path, the target as their caption. The rows of a batch share the sign of
// m, the next batch has the other; the point of each row depends on the seed and its number (and, as in the authors' scripts, on the
// LoRA so far, with which it is walked to); fixed_loss() looks at both signs at points that the base model walks to.
// Networks and trainable must outlive it; the trainable must be attached while it is used. Error{bad_input}: sides that the model cannot
// have, a prompt that does not encode; a range of timesteps that the model does not have.
std::unique_ptr<Objective> make_slider_objective(Networks& networks, Trainable& trainable, const TrainConfig& config);

}  // namespace lorikeet

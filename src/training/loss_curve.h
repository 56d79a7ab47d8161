// The course of a run as a picture: loss, its moving average, validation losses and the learning rate over the steps.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "training/run_log.h"

namespace lorikeet {

// False in an engine-only build, which goes without Cairo.
bool can_draw_loss_curve();

// Writes a PNG of 1200 × 700 pixels, atomically. The scale follows the average and the validation losses: single steps far from them
// are cut off. Values that are not finite are gaps. An empty log gives empty axes. Error{unsupported} where it cannot be drawn, Error{io}
// as write_picture.
void draw_loss_curve(const std::filesystem::path& png, const std::vector<LogRow>& rows, const std::string& title);

// The mean of the losses up to each row, of which those `half_life` steps before count half (an exponential average, without the pull to
// its beginning). Rows that are not finite are passed over. One value a row.
std::vector<double> smoothed_losses(const std::vector<LogRow>& rows, double half_life);

// Round numbers in [least, most], about `count` of them: steps of 1, 2 or 5 times a power of ten. least < most.
std::vector<double> axis_ticks(double least, double most, int count);

}  // namespace lorikeet

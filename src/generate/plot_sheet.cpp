// The sheet of a plot: columns with the values of x above them, rows with those of y at their left, and a block for each value of z.
#include <algorithm>
#include <cmath>

#include "generate/plot.h"
#include "io/paper.h"

namespace lorikeet {

namespace {
constexpr size_t kMostLines = 3;
// A third of what a PNG may have keeps the drawing below 200 MB.
constexpr double kMostSheetPixels = kMostPicturePixels / 3.0;

struct Label {
  std::vector<std::string> lines;
  double width = 0;
};

class Sheet {
 public:
  // scale: of the cells
  Sheet(const PlotRequest& plot, std::span<const Picture* const> pictures, double scale) : plot_(plot), pictures_(pictures), scale_(scale) {
    int width = 1, height = 1;
    for (const Picture* picture : pictures) {
      width = std::max(width, picture->width_px);
      height = std::max(height, picture->height_px);
    }
    cell_width_ = scaled(width);
    cell_height_ = scaled(height);
    // Small enough for a column, large enough to be read: 13 pixels at cells of 128, 36 at 512.
    text_.size_px = std::clamp(std::min(cell_width_, cell_height_) / 14.0, 13.0, 48.0);
    bold_ = {.size_px = text_.size_px, .bold = true};
    gap_ = std::max(2, static_cast<int>(text_.size_px / 4));
    measure();
  }

  double width() const { return width_; }
  double height() const { return height_; }

  Picture draw() const {
    Paper paper(static_cast<int>(width_), static_cast<int>(height_));
    draw_title(paper);
    for (size_t z = 0; z < count(2); ++z) {
      const double left = margin() + row_labels_width_ + static_cast<double>(z) * (block_width() + 4 * gap_);
      draw_header(paper, z, left);
      if (z == 0) draw_row_labels(paper);
      draw_pictures(paper, z, left);
    }
    return paper.finished();
  }

 private:
  const PlotAxis& axis(size_t i) const { return plot_.axes[i]; }
  size_t count(size_t i) const { return axis(i).empty() ? 1 : axis(i).values.size(); }
  int scaled(int px) const { return std::max(1, static_cast<int>(std::lround(px * scale_))); }
  double line_height() const { return text_.size_px * kLineHeight; }
  double margin() const { return 2.0 * gap_; }
  double block_width() const { return static_cast<double>(count(0)) * (cell_width_ + gap_) - gap_; }
  double first_row() const { return margin() + title_height_ + header_height_; }
  double row_top(size_t y) const { return first_row() + static_cast<double>(y) * (cell_height_ + gap_); }

  Label label(std::string_view value, double most_width) const {
    Label label{wrapped_text(value_label(value), most_width, text_, kMostLines)};
    for (const std::string& line : label.lines) label.width = std::max(label.width, text_width(line, text_));
    return label;
  }

  void measure() {
    if (!axis(0).empty())
      for (const std::string& value : axis(0).values) column_labels_.push_back(label(value, cell_width_));
    if (!axis(1).empty()) {
      row_labels_width_ = text_width(axis_title(axis(1)), bold_);
      for (const std::string& value : axis(1).values) {
        row_labels_.push_back(label(value, std::max(cell_width_, 160)));
        row_labels_width_ = std::max(row_labels_width_, row_labels_.back().width);
      }
      row_labels_width_ = std::ceil(row_labels_width_) + 2 * gap_;
    }
    size_t lines = 0;
    for (const Label& one : column_labels_) lines = std::max(lines, one.lines.size());
    const bool titled_rows = axis(0).empty() && !axis(1).empty();
    lines += (axis(0).empty() ? 0 : 1) + (axis(2).empty() ? 0 : 1) + (titled_rows ? 1 : 0);
    header_height_ = std::ceil(static_cast<double>(lines) * line_height()) + (lines ? gap_ : 0);
    const double blocks = static_cast<double>(count(2));
    width_ = std::ceil(2 * margin() + row_labels_width_ + blocks * (block_width() + 4 * gap_) - 4 * gap_);
    if (!plot_.title.empty()) {
      title_ = wrapped_text(plot_.title, width_ - 2 * margin(), text_, kMostLines);
      title_height_ = std::ceil(static_cast<double>(title_.size()) * line_height()) + gap_;
    }
    height_ = std::ceil(row_top(count(1)) - gap_ + margin());
  }

  void draw_title(Paper& paper) const {
    for (size_t i = 0; i < title_.size(); ++i)
      paper.text({width_ / 2, margin() + static_cast<double>(i) * line_height()}, title_[i], text_, Align::centre);
  }

  // From above: the value of z, the title of x, the values of x.
  void draw_header(Paper& paper, size_t z, double left) const {
    double y = margin() + title_height_;
    const double middle = left + block_width() / 2;
    if (!axis(2).empty()) {
      paper.text({middle, y}, axis_title(axis(2)) + ": " + value_label(axis(2).values[z]), bold_, Align::centre);
      y += line_height();
    }
    if (axis(0).empty()) return;
    paper.text({middle, y}, axis_title(axis(0)), bold_, Align::centre);
    y += line_height();
    for (size_t x = 0; x < column_labels_.size(); ++x) {
      const double centre = left + static_cast<double>(x) * (cell_width_ + gap_) + cell_width_ / 2.0;
      for (size_t i = 0; i < column_labels_[x].lines.size(); ++i)
        paper.text({centre, y + static_cast<double>(i) * line_height()}, column_labels_[x].lines[i], text_, Align::centre);
    }
  }

  void draw_row_labels(Paper& paper) const {
    if (axis(1).empty()) return;
    const double right = margin() + row_labels_width_ - 2 * gap_;
    paper.text({right, first_row() - gap_ - line_height()}, axis_title(axis(1)), bold_, Align::right);
    for (size_t y = 0; y < row_labels_.size(); ++y) {
      const auto& lines = row_labels_[y].lines;
      const double top = row_top(y) + (cell_height_ - static_cast<double>(lines.size()) * line_height()) / 2;
      for (size_t i = 0; i < lines.size(); ++i)
        paper.text({right, top + static_cast<double>(i) * line_height()}, lines[i], text_, Align::right);
    }
  }

  void draw_pictures(Paper& paper, size_t z, double left) const {
    for (size_t y = 0; y < count(1); ++y)
      for (size_t x = 0; x < count(0); ++x) {
        const Picture& picture = *pictures_[(z * count(1) + y) * count(0) + x];
        const int width = scaled(picture.width_px), height = scaled(picture.height_px);
        const Spot corner{std::floor(left + static_cast<double>(x) * (cell_width_ + gap_) + (cell_width_ - width) / 2.0),
                          std::floor(row_top(y) + (cell_height_ - height) / 2.0)};
        paper.picture(corner, width, height, picture);
      }
  }

  const PlotRequest& plot_;
  std::span<const Picture* const> pictures_;
  double scale_;
  int cell_width_ = 1, cell_height_ = 1, gap_ = 2;
  Lettering text_, bold_;
  std::vector<Label> column_labels_, row_labels_;
  std::vector<std::string> title_;
  double row_labels_width_ = 0, title_height_ = 0, header_height_ = 0, width_ = 0, height_ = 0;
};
}  // namespace

Picture draw_plot_sheet(const PlotRequest& plot, std::span<const Picture* const> pictures) {
  for (double scale = 1;;) {
    const Sheet sheet(plot, pictures, scale);
    const double most = std::min({kMostPictureSidePx / sheet.width(), kMostPictureSidePx / sheet.height(),
                                  std::sqrt(kMostSheetPixels / (sheet.width() * sheet.height()))});
    if (most >= 1) return sheet.draw();
    scale *= std::min(most, 0.98);  // letters do not shrink below a size that can be read, so that this may take several rounds
  }
}

}  // namespace lorikeet

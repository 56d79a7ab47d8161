#include "lora/surgery/drawing.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <string_view>

#include "base/text.h"

namespace lorikeet {
namespace {

struct Glyph {
  char letter;
  std::array<uint8_t, 7> rows;  // five bits each, the leftmost one highest
};

constexpr Glyph kGlyphs[] = {
    {'A', {14, 17, 17, 31, 17, 17, 17}}, {'B', {30, 17, 17, 30, 17, 17, 30}}, {'C', {14, 17, 16, 16, 16, 17, 14}},
    {'D', {30, 17, 17, 17, 17, 17, 30}}, {'E', {31, 16, 16, 30, 16, 16, 31}}, {'F', {31, 16, 16, 30, 16, 16, 16}},
    {'G', {14, 17, 16, 23, 17, 17, 15}}, {'H', {17, 17, 17, 31, 17, 17, 17}}, {'I', {14, 4, 4, 4, 4, 4, 14}},
    {'J', {7, 2, 2, 2, 2, 18, 12}},      {'K', {17, 18, 20, 24, 20, 18, 17}}, {'L', {16, 16, 16, 16, 16, 16, 31}},
    {'M', {17, 27, 21, 21, 17, 17, 17}}, {'N', {17, 25, 21, 19, 17, 17, 17}}, {'O', {14, 17, 17, 17, 17, 17, 14}},
    {'P', {30, 17, 17, 30, 16, 16, 16}}, {'Q', {14, 17, 17, 17, 21, 18, 13}}, {'R', {30, 17, 17, 30, 20, 18, 17}},
    {'S', {15, 16, 16, 14, 1, 1, 30}},   {'T', {31, 4, 4, 4, 4, 4, 4}},       {'U', {17, 17, 17, 17, 17, 17, 14}},
    {'V', {17, 17, 17, 17, 17, 10, 4}},  {'W', {17, 17, 17, 21, 21, 27, 17}}, {'X', {17, 17, 10, 4, 10, 17, 17}},
    {'Y', {17, 17, 10, 4, 4, 4, 4}},     {'Z', {31, 1, 2, 4, 8, 16, 31}},     {'0', {14, 17, 19, 21, 25, 17, 14}},
    {'1', {4, 12, 4, 4, 4, 4, 14}},      {'2', {14, 17, 1, 2, 4, 8, 31}},     {'3', {31, 2, 4, 2, 1, 17, 14}},
    {'4', {2, 6, 10, 18, 31, 2, 2}},     {'5', {31, 16, 30, 1, 1, 17, 14}},   {'6', {6, 8, 16, 30, 17, 17, 14}},
    {'7', {31, 1, 2, 4, 8, 8, 8}},       {'8', {14, 17, 17, 14, 17, 17, 14}}, {'9', {14, 17, 17, 15, 1, 2, 12}},
    {'.', {0, 0, 0, 0, 0, 12, 12}},      {',', {0, 0, 0, 0, 12, 4, 8}},       {'-', {0, 0, 0, 31, 0, 0, 0}},
    {'+', {0, 4, 4, 31, 4, 4, 0}},       {'/', {1, 1, 2, 4, 8, 16, 16}},      {'%', {24, 25, 2, 4, 8, 19, 3}},
    {':', {0, 12, 12, 0, 12, 12, 0}},    {'(', {2, 4, 8, 8, 8, 4, 2}},        {')', {8, 4, 2, 2, 2, 4, 8}},
    {'=', {0, 0, 31, 0, 31, 0, 0}},
};

constexpr int kDot = 2, kAdvance = 6 * kDot, kLetterHeight = 7 * kDot;

std::string hex(const Rgb& colour) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", colour[0], colour[1], colour[2]);
  return text;
}

std::string escaped(const std::string& text) {
  return replace_all(replace_all(replace_all(valid_utf8(text), "&", "&amp;"), "<", "&lt;"), ">", "&gt;");
}

void fill(Picture& picture, int x, int y, int width, int height, const Rgb& colour) {
  for (int row = std::max(y, 0); row < std::min(y + height, picture.height_px); ++row)
    for (int column = std::max(x, 0); column < std::min(x + width, picture.width_px); ++column)
      std::copy(colour.begin(), colour.end(), picture.pixels.begin() + 3 * (static_cast<ptrdiff_t>(row) * picture.width_px + column));
}

void paint(Picture& picture, const Drawing::Text& text) {
  const int width = static_cast<int>(text.text.size()) * kAdvance - kDot;
  int x = text.x_px - (text.align == Drawing::Align::left ? 0 : text.align == Drawing::Align::middle ? width / 2 : width);
  for (const char letter : text.text) {
    const auto upper = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    const auto* glyph = std::ranges::find(kGlyphs, upper, &Glyph::letter);
    if (glyph != std::end(kGlyphs))
      for (int row = 0; row < 7; ++row)
        for (int column = 0; column < 5; ++column)
          if (glyph->rows[static_cast<size_t>(row)] >> (4 - column) & 1)
            fill(picture, x + column * kDot, text.y_px - kLetterHeight / 2 + row * kDot, kDot, kDot, text.colour);
    x += kAdvance;
  }
}

}  // namespace

std::string to_svg(const Drawing& drawing) {
  const std::string width = std::to_string(drawing.width_px), height = std::to_string(drawing.height_px);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height + "\" viewBox=\"0 0 " + width +
                    " " + height +
                    "\" font-family=\"sans-serif\" font-size=\"15\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  for (const auto& box : drawing.boxes)
    svg += "<rect x=\"" + std::to_string(box.x_px) + "\" y=\"" + std::to_string(box.y_px) + "\" width=\"" + std::to_string(box.width_px) +
           "\" height=\"" + std::to_string(box.height_px) + "\" fill=\"" + hex(box.colour) + "\"><title>" + escaped(box.title) +
           "</title></rect>\n";
  constexpr std::string_view kAnchors[] = {"start", "middle", "end"};
  for (const auto& text : drawing.texts)
    svg += "<text x=\"" + std::to_string(text.x_px) + "\" y=\"" + std::to_string(text.y_px) +
           "\" dominant-baseline=\"central\" text-anchor=\"" + std::string(kAnchors[static_cast<size_t>(text.align)]) + "\" fill=\"" +
           hex(text.colour) + "\">" + escaped(text.text) + "</text>\n";
  return svg + "</svg>\n";
}

Picture to_picture(const Drawing& drawing) {
  Picture picture{drawing.width_px, drawing.height_px, 3, {}};
  picture.pixels.assign(static_cast<size_t>(drawing.width_px) * static_cast<size_t>(drawing.height_px) * 3, 255);
  for (const auto& box : drawing.boxes) fill(picture, box.x_px, box.y_px, box.width_px, box.height_px, box.colour);
  for (const auto& text : drawing.texts) paint(picture, text);
  return picture;
}

}  // namespace lorikeet

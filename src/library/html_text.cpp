#include "library/html_text.h"

#include <utility>

#include "base/text.h"

namespace lorikeet {
namespace {

bool breaks_line(std::string_view tag) {
  for (const std::string_view name : {"br", "/p", "/div", "/li", "/h1", "/h2", "/h3", "/ul", "/ol", "hr"}) {
    if (!starts_with(tag, name)) continue;
    const char next = tag.size() > name.size() ? tag[name.size()] : ' ';
    if (next == ' ' || next == '/') return true;
  }
  return false;
}

}  // namespace

std::string html_text(std::string_view html) {
  std::string text;
  for (size_t at = 0; at < html.size();) {
    const size_t end = html[at] == '<' ? html.find('>', at) : std::string_view::npos;
    const char next = at + 1 < html.size() ? html[at + 1] : ' ';
    const bool is_tag = end != std::string_view::npos && (next == '/' || next == '!' || (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z'));
    if (!is_tag) {
      text += html[at++];
      continue;
    }
    if (breaks_line(lower(html.substr(at + 1, end - at - 1))) && !ends_with(text, "\n\n")) text += '\n';
    at = end + 1;
  }
  constexpr std::pair<std::string_view, std::string_view> kEntities[] = {{"&nbsp;", " "}, {"&lt;", "<"},    {"&gt;", ">"},
                                                                         {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}};
  for (const auto& [entity, sign] : kEntities) text = replace_all(std::move(text), entity, sign);
  return std::string(trim(text));
}

}  // namespace lorikeet

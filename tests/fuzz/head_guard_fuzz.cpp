// Request heads: whole and byte by byte agree, and what is accepted has one reading only.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http_head.hpp"

using namespace kw::net;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

void check_accepted(const http_head& head, std::string_view text) {
    require(head.consumed() <= text.size());
    const std::string_view raw = head.raw();
    require(raw.ends_with("\r\n\r\n"));
    require(raw.find('\0') == std::string_view::npos);
    require(std::count(raw.begin(), raw.end(), '\n') == std::count(raw.begin(), raw.end(), '\r'));
    require(raw.find("\r\n ") == std::string_view::npos);
    require(raw.find("\r\n\t") == std::string_view::npos);
    require(head.path().starts_with('/') || head.path() == "*");
    require(head.path().find("/..") == std::string_view::npos ||
            head.path().find("/../") == std::string_view::npos);
    std::size_t hosts = 0;
    std::size_t framings = 0;
    std::size_t bytes = 0;
    for (const auto h : head) {
        bytes += h.name.size() + h.value.size();
        hosts += equal_ignoring_case(h.name, "host") ? 1U : 0U;
        framings += equal_ignoring_case(h.name, "content-length") ||
                            equal_ignoring_case(h.name, "transfer-encoding")
                        ? 1U
                        : 0U;
        require(find_header_id(h.name) == h.id);
        require(h.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
    }
    require(bytes < raw.size());
    require(hosts <= 1 && (hosts == 1 || head.minor_version() == 0));
    require(framings <= 1);
    require((framings == 1) == (head.body() != framing::none));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const head_limits limits{.max_head = 2048, .max_target = 256, .max_headers = 16};
    http_head whole(limits);
    const parse_status at_once = whole.parse_request(text);
    http_head split(limits);
    parse_status by_bytes = parse_status::need_more;
    for (std::size_t n = 1; n <= text.size() && by_bytes == parse_status::need_more; ++n)
        by_bytes = split.parse_request(std::string_view(text).substr(0, n));
    require(at_once == by_bytes);
    if (at_once == parse_status::bad) require(whole.fault().status >= 400);
    if (at_once != parse_status::done) return 0;
    require(whole.consumed() == split.consumed() && whole.path() == split.path() &&
            whole.body() == split.body() && whole.keep_alive() == split.keep_alive());
    check_accepted(whole, text);
    return 0;
}

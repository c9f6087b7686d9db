// Whatever a document of another gateway holds, reading it ends in a bounded number of records or
// in a refusal that quotes nothing.
#include <boost/json.hpp>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "admin/import_formats.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace kw;
    using namespace kw::admin;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    boost::system::error_code failed;
    const auto value = boost::json::parse(text, failed);
    const import_source from{text, failed ? nullptr : &value};
    int next = 0;
    const import_makers make{
        .id = [&next](
                  std::string_view prefix) { return std::string(prefix) + std::to_string(++next); },
        .hash = [](const secret& of) { return crypto::sha256(of.reveal()); },
        .text = [] { return secret("sk-kw-made-here"); },
        .variable = [](const std::string&) { return std::optional<std::string>(); },
        .now = {}};
    for (const auto format : {guess_format(from), import_format::litellm, import_format::keys,
                              import_format::key_pool, import_format::access_keys}) {
        const auto got = read_foreign(format, from, "home", make);
        if (got) {
            if (got->records.items.size() > max_import_items) std::abort();
            for (const auto& item : got->records.items) {
                if (find_portable(item.kind) == nullptr || !item.data) std::abort();
            }
        } else if (got.error().code != errc::invalid_argument || got.error().context.empty()) {
            std::abort();
        }
    }
    return 0;
}

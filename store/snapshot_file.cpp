// Runs of records in a sealed file.
#include "store/snapshot_file.hpp"

#include "store/binary.hpp"
#include "store/sealed_file.hpp"

namespace kw::store {
namespace {

constexpr std::size_t line_target = 1U << 20U;
constexpr const char* label = "keywheel snapshot";

void put_record(std::string& out, const record& r) {
    put_text(out, r.kind);
    put_text(out, r.id);
    put_u64(out, r.revision);
    put_text(out, r.json);
}

bool take_record(std::string_view& in, record& r) {
    return take_text(in, r.kind) && take_text(in, r.id) && take_u64(in, r.revision) &&
           take_text(in, r.json);
}

}  // namespace

snapshot_file::snapshot_file(std::string path, const crypto::sealer& sealer)
    : path_(std::move(path)), sealer_(sealer) {}

result<void> snapshot_file::save(const snapshot& records) {
    std::string head;
    put_u64(head, records.revision);
    auto out = sealed_file_writer::begin(path_, sealer_, label, std::move(head));
    if (!out) return out.error();
    std::string run;
    const auto close_run = [&] {
        out->add(std::move(run));
        run.clear();
    };
    records.each([&](const record& r) {
        put_record(run, r);
        if (run.size() >= line_target) close_run();
    });
    if (!run.empty()) close_run();
    return out->commit();
}

result<std::uint64_t> snapshot_file::load(const record_sink& to) const {
    auto in = sealed_file_reader::open(path_, sealer_, label);
    if (!in) return in.error();
    const auto broken = [this](const char* why) {
        return error(errc::invalid_argument, path_ + ": " + why, error_source::store);
    };
    std::string_view head = in->head();
    std::uint64_t revision = 0;
    if (!take_u64(head, revision)) return broken("its head is not ours");
    std::string run;
    record r;
    for (;;) {
        const auto more = in->next(run);
        if (!more) return more.error();
        if (!*more) return revision;
        for (std::string_view left = run; !left.empty(); to(r))
            if (!take_record(left, r)) return broken("a record is not readable");
    }
}

}  // namespace kw::store

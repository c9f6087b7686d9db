// Pieces in runs of a sealed file, and the whole of it looked at.
#include "store/backup_file.hpp"

#include <algorithm>

#include "store/binary.hpp"

namespace kw::store {
namespace {

constexpr const char* label = "keywheel backup 1";
constexpr std::size_t run_target = 1U << 20U;

error bad(const std::string& path, std::string_view why) {
    return error(errc::invalid_argument, path + ": " + std::string(why), error_source::store);
}

std::string encoded(const backup_head& head) {
    std::string out;
    put_text(out, head.store);
    put_text(out, head.release);
    put_u64(out, static_cast<std::uint64_t>(unix_ms(head.made)));
    put_u64(out, head.master_keys.size());
    for (const auto& id : head.master_keys)
        put_text(out, id);
    return out;
}

bool decode(std::string_view in, backup_head& head) {
    std::uint64_t made = 0;
    std::uint64_t keys = 0;
    if (!take_text(in, head.store) || !take_text(in, head.release) || !take_u64(in, made) ||
        !take_u64(in, keys))
        return false;
    head.made = wall_time(std::chrono::milliseconds(static_cast<std::int64_t>(made)));
    for (; keys > 0; --keys)
        if (!take_text(in, head.master_keys.emplace_back())) return false;
    return true;
}

}  // namespace

result<backup_writer> backup_writer::begin(const std::string& path, const crypto::sealer& sealer,
                                           const backup_head& head) {
    auto out = sealed_file_writer::begin(path, sealer, label, encoded(head));
    if (!out) return out.error();
    return backup_writer(std::move(*out), path, sealer);
}

void backup_writer::add(std::string_view item, std::string_view bytes, bool last) {
    do {
        const auto some = bytes.substr(0, run_target);
        bytes.remove_prefix(some.size());
        put_text(run_, item);
        put_u64(run_, last && bytes.empty() ? 1 : 0);
        put_text(run_, some);
        if (run_.size() < run_target) continue;
        out_.add(std::move(run_));
        run_.clear();
    } while (!bytes.empty());
}

result<backup_summary> backup_writer::commit() {
    if (!run_.empty()) out_.add(std::move(run_));
    if (auto done = out_.commit(); !done) return done.error();
    return check_backup(path_, *sealer_);
}

result<backup_reader> backup_reader::open(const std::string& path, const crypto::sealer& sealer) {
    auto in = sealed_file_reader::open(path, sealer, label);
    if (!in) return in.error();
    backup_reader r(std::move(*in), path);
    if (!decode(r.in_.head(), r.head_)) return bad(path, "its head is not ours");
    const auto missing = std::ranges::find_if_not(
        r.head_.master_keys, [&](const std::string& id) { return sealer.knows(id); });
    if (missing != r.head_.master_keys.end())
        return bad(path, "what is in it is sealed with the encryption key " + *missing +
                             ", which is not at hand: give it as store.encryption_key, or as "
                             "store.encryption_key_old");
    return r;
}

result<bool> backup_reader::next(backup_piece& piece) {
    while (at_ == run_.size()) {
        at_ = 0;
        const auto more = in_.next(run_);
        if (!more) return more.error();
        if (!*more) return false;
    }
    std::string_view left = std::string_view(run_).substr(at_);
    std::uint64_t last = 0;
    if (!take_text(left, piece.item) || !take_u64(left, last) || !take_text(left, piece.bytes))
        return bad(path_, "a piece is not readable");
    piece.last = last != 0;
    at_ = run_.size() - left.size();
    return true;
}

result<backup_summary> check_backup(const std::string& path, const crypto::sealer& sealer) {
    auto in = backup_reader::open(path, sealer);
    if (!in) return in.error();
    backup_summary out{.head = in->head()};
    backup_piece piece;
    bool open = false;
    for (;;) {
        const auto more = in->next(piece);
        if (!more) return more.error();
        if (!*more) break;
        out.bytes += piece.bytes.size();
        out.items += piece.last ? 1 : 0;
        open = !piece.last;
    }
    if (open || out.items == 0) return bad(path, "it is not whole");
    return out;
}

}  // namespace kw::store

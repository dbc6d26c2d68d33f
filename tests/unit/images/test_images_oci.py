"""Image files: the same tree gives the same bytes, and the layout holds what its digests say."""

import gzip
import hashlib
import io
import json
import os
import tarfile

from images.containers.oci import EPOCH, Image, read_layer, write_layer, write_layout


def make_tree(folder, order):
    for name in order:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
        (folder / name).chmod(0o644)
        os.utime(folder / name, (order.index(name) * 1000, 5))
    (folder / "bin").symlink_to("usr")
    for part in [folder / "usr", folder / "etc"]:
        part.chmod(0o755)


def test_order_and_times_of_files_do_not_show(tmp_path):
    names = ["usr/b", "etc/a", "usr/a"]
    layers = []
    for index, order in enumerate((names, names[::-1])):
        tree = tmp_path / str(index)
        make_tree(tree, order)
        layers.append(write_layer(tree, tmp_path / f"{index}.tar.gz"))
    assert layers[0].digest == layers[1].digest and layers[0].diff_id == layers[1].diff_id
    assert (tmp_path / "0.tar.gz").read_bytes() == (tmp_path / "1.tar.gz").read_bytes()
    again = read_layer(tmp_path / "0.tar.gz")
    assert (again.digest, again.diff_id) == (layers[0].digest, layers[0].diff_id)


def test_entries_belong_to_root_and_have_one_time(tmp_path):
    make_tree(tmp_path / "tree", ["usr/a", "etc/b"])
    layer = write_layer(tmp_path / "tree", tmp_path / "l.tar.gz")
    plain = gzip.decompress(layer.path.read_bytes())
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        members = {member.name: member for member in tar}
    assert set(members) == {"bin", "etc", "etc/b", "usr", "usr/a"}
    assert members["bin"].issym() and members["bin"].linkname == "usr"
    assert {(one.uid, one.gid, one.uname, one.mtime) for one in members.values()} == {(0, 0, "", EPOCH)}


def test_a_layout_is_whole(tmp_path):
    make_tree(tmp_path / "tree", ["usr/a", "etc/b"])
    layer = write_layer(tmp_path / "tree", tmp_path / "l.tar.gz")
    images = [Image("localhost/a:1", [layer], {"User": "771:771"}), Image("localhost/b:2", [layer])]
    write_layout(images, tmp_path / "images.tar", "amd64")
    with tarfile.open(tmp_path / "images.tar") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    index = json.loads(files["index.json"])
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert names == ["localhost/a:1", "localhost/b:2"]
    for entry in index["manifests"]:
        manifest = json.loads(files["blobs/sha256/" + entry["digest"].split(":")[1]])
        config = json.loads(files["blobs/sha256/" + manifest["config"]["digest"].split(":")[1]])
        assert config["rootfs"]["diff_ids"] == [layer.diff_id]
        assert manifest["layers"][0]["size"] == layer.path.stat().st_size

"""What a script wants to do with a mount, through its ordinary files: no gRPC, no FUSE, no command line.

from exportfs.client.cameras import find_cameras, read_footage

for camera in find_cameras(Path("/mnt/exports"), ["gate*"]):
    print(camera.label, read_footage(camera).intervals[-1:])
"""
